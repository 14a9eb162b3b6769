"""The OpenAI-compatible provider against a real HTTP server on this machine."""

import threading
from typing import Any

import numpy as np
import pytest

from memories.providers import (
    ProviderMisconfiguredError,
    ProviderRefusedError,
    ProviderUnavailableError,
)
from tests.memories.conftest import EmbeddingServer, vector_of


def test_vectors_come_back_in_the_order_of_the_texts(embedding_server: EmbeddingServer) -> None:
    vectors = embedding_server.provider().embed(["one", "two", "three"])
    assert vectors.shape == (3, 1536)
    for row, text in zip(vectors, ["one", "two", "three"], strict=True):
        assert np.allclose(row[:8], vector_of(text, 8), atol=1e-5)
        assert not row[8:].any()
    assert embedding_server.asked[0]["model"] == "test-model"
    assert "dimensions" not in embedding_server.asked[0]


def test_shortened_vectors_are_asked_for_and_recorded_as_another_model(
    embedding_server: EmbeddingServer,
) -> None:
    provider = embedding_server.provider(dimensions=8)
    provider.embed(["one"])
    assert embedding_server.asked[0]["dimensions"] == 8
    assert provider.model == "test-model@8"


def failing(status: int, headers: dict[str, str] | None = None, times: int = 1) -> Any:
    left = [times]

    def answer(server: EmbeddingServer, body: dict[str, Any]) -> Any:
        if left[0]:
            left[0] -= 1
            return status, headers or {}, {"error": {"message": "as the provider says"}}
        return server.vectors(body)

    return answer


def test_retry_after_is_followed(embedding_server: EmbeddingServer) -> None:
    answer = failing(429, {"Retry-After": "3"})
    embedding_server.answer = lambda body: answer(embedding_server, body)
    waited: list[float] = []
    assert embedding_server.provider().embed(["one"], waited.append).shape == (1, 1536)
    assert waited == [3]
    assert len(embedding_server.asked) == 2


def test_a_long_retry_after_is_left_to_the_queue(embedding_server: EmbeddingServer) -> None:
    embedding_server.answer = lambda body: (429, {"Retry-After": "300"}, {"error": {"message": "slow down"}})
    with pytest.raises(ProviderUnavailableError, match="limiting the rate") as caught:
        embedding_server.provider().embed(["one"])
    assert caught.value.retry_after == 300
    assert len(embedding_server.asked) == 1


def test_retries_end(embedding_server: EmbeddingServer) -> None:
    embedding_server.answer = lambda body: (503, {"Retry-After": "0"}, {"error": {"message": "overloaded"}})
    with pytest.raises(ProviderUnavailableError, match="status 503"):
        embedding_server.provider(retries=2).embed(["one"])
    assert len(embedding_server.asked) == 3


@pytest.mark.parametrize(
    ("status", "error", "words"),
    [
        (401, ProviderMisconfiguredError, "check OPENAI_API_KEY"),
        (403, ProviderMisconfiguredError, "check OPENAI_API_KEY"),
        (404, ProviderMisconfiguredError, "check ARC_OPENAI_MODEL"),
        (400, ProviderRefusedError, "as the provider says"),
        (413, ProviderRefusedError, "as the provider says"),
    ],
)
def test_what_no_retry_mends_is_not_retried(
    embedding_server: EmbeddingServer, status: int, error: type[Exception], words: str
) -> None:
    embedding_server.answer = lambda body: (status, {}, {"error": {"message": "as the provider says"}})
    with pytest.raises(error, match=words):
        embedding_server.provider().embed(["one"])
    assert len(embedding_server.asked) == 1


def rows(*vectors: list[float]) -> dict[str, Any]:
    return {
        "object": "list",
        "model": "m",
        "data": [{"object": "embedding", "index": i, "embedding": v} for i, v in enumerate(vectors)],
    }


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (rows([1.0]), "2 texts were sent and 1 vectors came back"),
        (rows([1.0] * 1537, [1.0] * 1537), "1537 dimensions"),
        (rows([0.0], [1.0]), "length zero"),
        (rows([1e39], [1.0]), "NaN or infinity"),
        (
            b'{"data": [{"index": 0, "embedding": [NaN]}, {"index": 1, "embedding": [1.0]}]}',
            "NaN or infinity",
        ),
        ({"data": []}, "0 vectors"),
    ],
)
def test_unusable_vectors_are_told_in_words(
    embedding_server: EmbeddingServer, answer: Any, words: str
) -> None:
    embedding_server.answer = lambda body: (200, {}, answer)
    with pytest.raises(ProviderMisconfiguredError, match=words):
        embedding_server.provider().embed(["one", "two"])


@pytest.mark.parametrize("answer", [b"<html>hello</html>", {"data": "none"}, [1], {"data": [{"index": 0}]}])
def test_a_server_that_speaks_something_else_is_told_in_words(
    embedding_server: EmbeddingServer, answer: Any
) -> None:
    embedding_server.answer = lambda body: (200, {}, answer)
    with pytest.raises(
        (ProviderMisconfiguredError, ProviderUnavailableError), match=r"unusable|OPENAI_BASE_URL"
    ):
        embedding_server.provider(retries=0).embed(["one"])


def test_a_silent_server_is_given_up_at_the_deadline(embedding_server: EmbeddingServer) -> None:
    given_up = threading.Event()

    def silent(body: dict[str, Any]) -> Any:
        given_up.wait(60)
        return embedding_server.vectors(body)

    embedding_server.answer = silent
    with pytest.raises(ProviderUnavailableError, match=r"within 0\.3 s"):
        embedding_server.provider(timeout=60.0).embed_query("one", deadline=0.3)
    assert len(embedding_server.asked) <= 1, "a second try would come too late as well"
    given_up.set()


def test_a_refused_connection_is_told_in_words(embedding_server: EmbeddingServer) -> None:
    provider = embedding_server.provider(base_url="http://127.0.0.1:9/v1", retries=0)
    with pytest.raises(ProviderUnavailableError, match="cannot be reached"):
        provider.embed(["one"])


def test_a_missing_key_is_told_in_words(embedding_server: EmbeddingServer) -> None:
    with pytest.raises(ProviderMisconfiguredError, match="OPENAI_API_KEY is missing"):
        embedding_server.provider(key="").embed(["one"])
