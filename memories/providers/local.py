"""The provider that needs no network: all-MiniLM-L6-v2 on this machine."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from memories import model_client
from memories.models import DIMENSIONS
from memories.providers.base import ProviderRefusedError, ProviderUnavailableError
from memories.vectors import BadVectorsError, Vectors, checked

#: The model reads 256 tokens but was trained on 128, two of which are its own (its model card); shorter
#: chunks find more: docs/DECISIONS.md has the figures.
CHUNK_TOKENS = (50, 126)
#: Characters of a text that are sent. Of its 256 tokens 254 are the text's, and its tokenizer makes at least
#: one of each word: one of more than 100 characters is a single token without a meaning. With a space after
#: each that is 25,654; only behind gaps and words of hundreds of characters would it have read further. A
#: whole batch then stays far below the model server's limit, however long the contents of other services.
LONGEST = 32_000


class LocalProvider:
    """Asks the model server when there is one, else loads the model into this process.

    `server`: a socket's path, http://host:port, or "" for this process.
    """

    model = "all-MiniLM-L6-v2-onnx-int8"
    batch_size = 16
    lease_seconds = 60
    chunk_tokens = CHUNK_TOKENS

    def __init__(self, server: str) -> None:
        self._server = server

    def _vectors(self, texts: Sequence[str], deadline: float) -> Vectors:
        texts = [text[:LONGEST] for text in texts]
        if self._server:
            try:
                raw = model_client.embed(self._server, texts, timeout=deadline)
            except model_client.ModelServerRefusedError as error:
                raise ProviderRefusedError(str(error)) from error
            except model_client.ModelServerError as error:
                raise ProviderUnavailableError(str(error)) from error
        else:
            from memories.local_model import get_model  # loads onnxruntime

            raw = get_model().embed(texts)
        try:
            return checked(raw, count=len(texts), dimensions=DIMENSIONS)
        except BadVectorsError as error:
            raise ProviderUnavailableError(f"The local model failed: {error}.") from error

    def embed(self, texts: Sequence[str], wait: Callable[[float], None] = time.sleep) -> Vectors:
        return self._vectors(texts, self.lease_seconds)

    def embed_query(self, text: str, *, deadline: float) -> Vectors:
        vector: Vectors = self._vectors([text], deadline)[0]
        return vector
