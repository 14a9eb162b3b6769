"""What every embedding provider offers, and the ways it may fail."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Protocol

from memories.vectors import Vectors


class ProviderError(Exception):
    """The provider gave no usable vectors; the message is a sentence for an operator."""


class ProviderUnavailableError(ProviderError):
    """It may work later. `retry_after`: seconds the provider asked to wait, None when it did not say."""

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class ProviderMisconfiguredError(ProviderError):
    """It will not work before an operator changes something: key, address, model or dimensions."""


class ProviderRefusedError(ProviderError):
    """It refuses these very texts, for instance as too long; others may work."""


class Provider(Protocol):
    """Turns texts into vectors. Calls reach a network or another process: never inside a transaction."""

    @property
    def model(self) -> str:
        """The name recorded with every vector; a search compares vectors of one model only."""

    @property
    def batch_size(self) -> int:
        """How many texts are sent at once."""

    @property
    def lease_seconds(self) -> int:
        """The longest that one batch may take, retries included."""

    @property
    def chunk_tokens(self) -> tuple[int, int]:
        """The length of a chunk, enough and at most, in tokens of the local model's tokenizer."""

    def embed(self, texts: Sequence[str], wait: Callable[[float], None] = time.sleep) -> Vectors:
        """float32 of shape (len(texts), DIMENSIONS), checked and padded. Raises ProviderError.

        `wait(seconds)` is called between tries; it may raise to stop.
        """

    def embed_query(self, text: str, *, deadline: float) -> Vectors:
        """The vector of one query, shape (DIMENSIONS,), within `deadline` seconds, or ProviderError."""
