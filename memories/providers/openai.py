"""The provider that speaks OpenAI's protocol: OpenAI itself, vLLM, Ollama, LM Studio and others."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from django.conf import settings

from memories.models import DIMENSIONS
from memories.providers.base import ProviderMisconfiguredError, ProviderRefusedError, ProviderUnavailableError
from memories.vectors import BadVectorsError, Vectors, checked

if TYPE_CHECKING:
    import openai

#: The longest wait that a provider's Retry-After is followed inside one call, in seconds; a longer one is
#: handed to the queue.
LONGEST_WAIT = 20.0
NOT_THE_PROTOCOL = (
    "The embedding provider's answer is not that of an OpenAI-compatible server; check OPENAI_BASE_URL."
)


class OpenAIProvider:
    """See `Provider`. `dimensions` 0 leaves the model its own number."""

    batch_size = 64
    #: These models read thousands; a chunk stays short enough to be about one thing.
    chunk_tokens = (150, 400)

    def __init__(
        self,
        *,
        key: str,
        base_url: str,
        model: str,
        dimensions: int = 0,
        timeout: float = 30.0,
        retries: int = 3,
    ) -> None:
        self._key, self._base_url, self._name = key, base_url, model
        self._dimensions, self._timeout, self._retries = dimensions, timeout, retries
        self._made: openai.OpenAI | None = None

    @classmethod
    def from_settings(cls) -> OpenAIProvider:
        return cls(
            key=settings.OPENAI_API_KEY,
            base_url=settings.OPENAI_BASE_URL,
            model=settings.ARC_OPENAI_MODEL,
            dimensions=settings.ARC_OPENAI_DIMENSIONS,
            timeout=settings.ARC_OPENAI_TIMEOUT,
            retries=settings.ARC_OPENAI_RETRIES,
        )

    @property
    def model(self) -> str:
        """The model's name, with the dimensions when they are not its own: those do not compare."""
        return f"{self._name}@{self._dimensions}" if self._dimensions else self._name

    @property
    def lease_seconds(self) -> int:
        return int((self._timeout + LONGEST_WAIT) * (self._retries + 1)) + 10

    def _client(self) -> openai.OpenAI:
        if self._made is None:
            import openai  # half a second, so only where vectors are made

            if not self._key:
                raise ProviderMisconfiguredError(
                    "OPENAI_API_KEY is missing: set it, or ARC_EMBEDDING_PROVIDER=local. "
                    "A server that wants no key takes any word."
                )
            # Retries are made here, where Retry-After is followed and the deadline is known.
            self._made = openai.OpenAI(
                api_key=self._key, base_url=self._base_url, timeout=self._timeout, max_retries=0
            )
        return self._made

    def embed(self, texts: Sequence[str], wait: Callable[[float], None] = time.sleep) -> Vectors:
        attempt = 0
        while True:
            try:
                return self._call(texts, self._timeout)
            except ProviderUnavailableError as error:
                seconds = min(2.0**attempt, LONGEST_WAIT) if error.retry_after is None else error.retry_after
                attempt += 1
                if attempt > self._retries or seconds > LONGEST_WAIT:
                    raise
                wait(seconds)

    def embed_query(self, text: str, *, deadline: float) -> Vectors:
        vector: Vectors = self._call([text], deadline)[0]
        return vector

    def _call(self, texts: Sequence[str], timeout: float) -> Vectors:
        client = self._client()
        import openai

        try:
            answer = client.embeddings.create(
                model=self._name,
                input=list(texts),
                encoding_format="float",
                dimensions=self._dimensions or openai.omit,
                timeout=timeout,
            )
        except openai.APITimeoutError as error:
            raise ProviderUnavailableError(
                f"The embedding provider did not answer within {timeout:g} s."
            ) from error
        except openai.APIConnectionError as error:
            raise ProviderUnavailableError(
                f"The embedding provider at {self._base_url} cannot be reached; "
                "check OPENAI_BASE_URL and the network."
            ) from error
        except openai.APIStatusError as error:
            raise _in_words(error) from error
        except (openai.APIError, ValueError, TypeError) as error:
            raise ProviderUnavailableError(NOT_THE_PROTOCOL) from error
        try:
            rows = sorted(answer.data, key=lambda item: item.index)
            raw = [item.embedding for item in rows]
        except (AttributeError, TypeError) as error:  # the client does not check what it parsed
            raise ProviderUnavailableError(NOT_THE_PROTOCOL) from error
        try:
            return checked(raw, count=len(texts), dimensions=DIMENSIONS)
        except BadVectorsError as error:
            raise ProviderMisconfiguredError(
                f"The provider's answer for model {self._name} is unusable: {error}."
            ) from error


def _in_words(
    error: openai.APIStatusError,
) -> ProviderUnavailableError | ProviderMisconfiguredError | ProviderRefusedError:
    """The failure that a status stands for, in a sentence. The provider's own words are kept short."""
    status, said = error.status_code, " ".join(str(error.message).split())[:200]
    if status == 402:
        return ProviderMisconfiguredError(f"The embedding provider wants to be paid (status 402): {said}")
    if status in (401, 403):
        return ProviderMisconfiguredError(
            f"The embedding provider refuses the key (status {status}); check OPENAI_API_KEY."
        )
    if status == 404:
        return ProviderMisconfiguredError(
            "The embedding provider knows no such model or address (status 404); "
            "check ARC_OPENAI_MODEL and OPENAI_BASE_URL."
        )
    if status in (408, 409, 429) or status >= 500:
        trouble = "limiting the rate" if status == 429 else "failing"
        return ProviderUnavailableError(
            f"The embedding provider is {trouble} (status {status}): {said}",
            retry_after=_seconds(error.response.headers.get("retry-after")),
        )
    return ProviderRefusedError(f"The embedding provider refuses the text (status {status}): {said}")


def _seconds(header: str | None) -> float | None:
    """Retry-After in seconds; dates, which providers do not send, count as unsaid."""
    try:
        return max(0.0, float(header)) if header is not None else None
    except ValueError:
        return None
