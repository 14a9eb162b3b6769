"""Claiming, embedding and writing, against the real database and a real HTTP server."""

from typing import Any

import numpy as np
import pytest
from django.db import connection
from django.utils import timezone

from agents.models import Agent
from memories import embed
from memories.models import Memory
from memories.providers import ProviderMisconfiguredError, ProviderUnavailableError
from tests.memories.conftest import EmbeddingServer, vector_of

pytestmark = pytest.mark.django_db


def remember(agent: Agent, *contents: str) -> list[Memory]:
    return [Memory.objects.create(agent=agent, content=content) for content in contents]


def test_everything_that_waits_gets_its_own_vector(agent: Agent, embedding_server: EmbeddingServer) -> None:
    remember(agent, *(f"text {n}" for n in range(150)))
    result = embed.embed_waiting(embedding_server.provider())
    assert (result.embedded, result.reused, result.refused) == (150, 0, 0)
    assert Memory.objects.state_counts()["embedded"] == 150
    for memory in Memory.objects.all():
        assert memory.embedding_model == "test-model"
        assert np.allclose(memory.embedding[:8], vector_of(memory.content or "", 8), atol=1e-5)


def test_the_same_text_is_sent_once(agent: Agent, embedding_server: EmbeddingServer) -> None:
    remember(agent, "same", "same", "other")
    embed.embed_waiting(embedding_server.provider())
    remember(Agent.objects.create(name="second", type="t"), "same", "new")
    result = embed.embed_waiting(embedding_server.provider())
    sent = [text for body in embedding_server.asked for text in body["input"]]
    assert sorted(sent) == ["new", "other", "same"]
    assert (result.embedded, result.reused) == (1, 1)
    assert len({tuple(m.embedding) for m in Memory.objects.filter(content="same")}) == 1


def test_another_models_vector_is_not_reused(agent: Agent, embedding_server: EmbeddingServer) -> None:
    remember(agent, "same")
    embed.embed_waiting(embedding_server.provider())
    remember(agent, "same")
    embed.embed_waiting(embedding_server.provider(model="second-model"))
    assert [body["model"] for body in embedding_server.asked] == ["test-model", "second-model"]


def test_a_refused_text_does_not_stop_the_others(agent: Agent, embedding_server: EmbeddingServer) -> None:
    def refuse_long(body: dict[str, Any]) -> Any:
        if any("too long" in text for text in body["input"]):
            return 400, {}, {"error": {"message": "maximum context length is 8192 tokens"}}
        return embedding_server.vectors(body)

    embedding_server.answer = refuse_long
    remember(agent, *(f"fine {n}" for n in range(20)), "too long")
    result = embed.embed_waiting(embedding_server.provider())
    assert (result.embedded, result.refused) == (20, 1)
    failed = Memory.objects.get(embedding_state="failed")
    assert failed.content == "too long"
    assert "maximum context length" in failed.embedding_error
    assert failed.embedding is None


def test_a_provider_that_is_away_leaves_the_rows_waiting_with_the_reason(
    agent: Agent, embedding_server: EmbeddingServer
) -> None:
    embedding_server.answer = lambda body: (500, {}, {"error": {"message": "broken"}})
    remember(agent, "a")
    with pytest.raises(ProviderUnavailableError):
        embed.embed_waiting(embedding_server.provider(retries=0))
    memory = Memory.objects.get()
    assert memory.embedding_state == "pending"
    assert "status 500" in memory.embedding_error
    assert memory.embedding_due_at is not None
    assert 0 < (memory.embedding_due_at - timezone.now()).total_seconds() < 6
    assert not Memory.objects.due(timezone.now()).exists()
    embedding_server.answer = None
    Memory.objects.update(embedding_due_at=timezone.now())
    embed.embed_waiting(embedding_server.provider())
    memory.refresh_from_db()
    assert (memory.embedding_state, memory.embedding_error, memory.embedding_attempts) == ("embedded", "", 0)


def test_wrong_dimensions_write_nothing(agent: Agent, embedding_server: EmbeddingServer) -> None:
    embedding_server.dimensions = 3072
    remember(agent, "a", "b")
    with pytest.raises(ProviderMisconfiguredError, match="3072 dimensions"):
        embed.embed_waiting(embedding_server.provider())
    assert Memory.objects.state_counts()["pending"] == 2


def test_a_leased_row_is_not_claimed_twice(agent: Agent) -> None:
    remember(agent, *"abcde")
    first = embed.claim(3, lease_seconds=60)
    second = embed.claim(3, lease_seconds=60)
    assert len(first) == 3
    assert len(second) == 2
    assert not {row.id for row in first} & {row.id for row in second}
    Memory.objects.update(embedding_due_at=timezone.now())
    assert len(embed.claim(9, lease_seconds=60)) == 5


def test_a_content_that_changed_meanwhile_never_gets_the_old_vector(
    agent: Agent, embedding_server: EmbeddingServer
) -> None:
    [memory] = remember(agent, "before")
    claimed = embed.claim(1, lease_seconds=60)
    vectors = embedding_server.provider().embed(["before"])
    Memory.objects.filter(pk=memory.pk).update(content="after")
    assert embed.write_vectors(claimed, vectors, "test-model") == 0
    memory.refresh_from_db()
    assert (memory.embedding_state, memory.embedding) == ("pending", None)
    embed.embed_waiting(embedding_server.provider())
    memory.refresh_from_db()
    assert np.allclose(memory.embedding[:8], vector_of("after", 8), atol=1e-5)


def test_a_content_that_changed_back_is_embedded_again(
    agent: Agent, embedding_server: EmbeddingServer
) -> None:
    [memory] = remember(agent, "one")
    embed.embed_waiting(embedding_server.provider())
    Memory.objects.filter(pk=memory.pk).update(content="two")
    Memory.objects.filter(pk=memory.pk).update(content="one")
    memory.refresh_from_db()
    assert memory.embedding_state == "stale"
    embed.embed_waiting(embedding_server.provider())
    memory.refresh_from_db()
    assert memory.embedding_state == "embedded"
    assert memory.embedding_model == "test-model"


def test_rows_of_other_services_go_before_those_of_documents(agent: Agent) -> None:
    from memories.models import Document

    document = Document.objects.create(agent=agent, name="d", content_hash=b"x")
    Memory.objects.bulk_create(
        Memory(agent=agent, document=document, content=f"chunk {n}") for n in range(30)
    )
    remember(agent, "plain insert")
    assert embed.claim(1, lease_seconds=60)[0].content == "plain insert"


def test_no_transaction_is_open_while_the_provider_works(
    agent: Agent, embedding_server: EmbeddingServer
) -> None:
    depth = len(connection.savepoint_ids)
    seen: list[int] = []
    provider = embedding_server.provider()
    original = provider.embed

    def embed_and_look(texts: Any, *args: Any) -> Any:
        seen.append(len(connection.savepoint_ids))
        return original(texts, *args)

    provider.embed = embed_and_look  # type: ignore[method-assign]
    remember(agent, "a")
    embed.embed_waiting(provider)
    assert seen == [depth]


def test_a_wrong_setting_that_looks_like_a_refusal_fails_no_memory(
    agent: Agent, embedding_server: EmbeddingServer
) -> None:
    embedding_server.answer = lambda body: (400, {}, {"error": {"message": "dimensions is not supported"}})
    remember(agent, *"abcdef")
    with pytest.raises(ProviderMisconfiguredError, match=r"dimensions is not supported.*settings are wrong"):
        embed.embed_waiting(embedding_server.provider())
    assert Memory.objects.state_counts()["pending"] == 6


def test_a_failed_memory_can_be_queued_again(agent: Agent, embedding_server: EmbeddingServer) -> None:
    [memory] = remember(agent, "a")
    Memory.objects.update(embedding_state="failed", embedding_error="no")
    assert embed.claim(9, lease_seconds=1) == []
    assert embed.try_again([memory.pk]) == 1
    assert embed.embed_waiting(embedding_server.provider()).embedded == 1
