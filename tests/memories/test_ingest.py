"""Ingestion through the ledger, without Celery: what the worker calls is called here."""

import time
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from agents.models import Agent
from arcweb.events.models import Event
from arcweb.jobs import ledger
from arcweb.jobs.models import Job
from memories import ingest, providers, uploads
from memories.models import Document, DocumentSource, Memory
from tests.memories.conftest import EmbeddingServer

pytestmark = pytest.mark.django_db(transaction=True)

TEXT = "\n\n".join(
    f"Paragraph {n}. The worker keeps a lease on its batch and renews it in time." for n in range(90)
)


@pytest.fixture
def provider(embedding_server: EmbeddingServer, settings: Any) -> Any:
    settings.ARC_EMBEDDING_PROVIDER = "openai"
    settings.OPENAI_API_KEY = "sk-not-a-secret"
    settings.OPENAI_BASE_URL = f"{embedding_server.url}/v1"
    settings.ARC_OPENAI_RETRIES = 0
    settings.ARC_OPENAI_TIMEOUT = 60
    providers.forget_providers()
    yield embedding_server
    providers.forget_providers()


@pytest.fixture
def agent(db: None) -> Agent:
    return Agent.objects.create(name="keeper", type="assistant")


def put(agent: Agent, text: str = TEXT, name: str = "notes.txt") -> ingest.Stored:
    return ingest.store(agent, uploads.from_text(name, text, limit_mb=20))


def run(job: Job | None) -> Job:
    assert job is not None
    ledger.run(job.pk)
    job.refresh_from_db()
    return job


def test_a_document_becomes_memories_with_vectors(agent: Agent, provider: EmbeddingServer) -> None:
    stored = put(agent)
    job = run(stored.job)
    assert job.state == "succeeded", job.last_error
    memories = Memory.objects.filter(document=stored.document).order_by("position")
    assert job.result == {"chunks": len(memories), "embedded": len(memories), "reused": 0, "failed": 0}
    assert (job.done, job.total) == (len(memories), len(memories))
    assert len(memories) > 3
    assert [memory.position for memory in memories] == list(range(len(memories)))
    assert {memory.embedding_state for memory in memories} == {"embedded"}
    assert "".join((memory.content or "") for memory in memories).replace("\n", "") == TEXT.replace("\n", "")
    assert memories[0].metadata == {"source": "notes.txt", "start": 0}
    assert Event.objects.filter(kind="document.added", agent_id=agent.pk).count() == 1


def test_the_same_text_is_kept_and_embedded_once(agent: Agent, provider: EmbeddingServer) -> None:
    run(put(agent).job)
    sent = len(provider.asked)
    again = put(agent, name="copy.txt")
    assert not again.created
    assert Document.objects.count() == DocumentSource.objects.count() == 1
    other = put(Agent.objects.create(name="other", type="assistant"))
    job = run(other.job)
    assert job.result is not None
    assert job.result["reused"] == job.result["chunks"]
    assert len(provider.asked) == sent
    assert Memory.objects.state_counts()["embedded"] == Memory.objects.count()


def test_running_the_job_again_changes_nothing(agent: Agent, provider: EmbeddingServer) -> None:
    stored = put(agent)
    run(stored.job)
    before = list(Memory.objects.order_by("id").values_list("id", "embedded_at"))
    assert put(agent).job is None
    Job.objects.update(state="queued", finished_at=None)
    assert run(stored.job).state == "succeeded"
    assert list(Memory.objects.order_by("id").values_list("id", "embedded_at")) == before


def test_a_provider_that_is_away_is_tried_again_and_nothing_is_lost(
    agent: Agent, provider: EmbeddingServer
) -> None:
    provider.answer = lambda body: (503, {"Retry-After": "7"}, {"error": {"message": "overloaded"}})
    stored = put(agent)
    job = run(stored.job)
    assert job.state == "queued"
    assert "overloaded" in job.last_error
    assert job.next_retry_at is not None
    provider.answer = None
    Job.objects.filter(pk=job.pk).update(next_retry_at=None)
    assert run(job).state == "succeeded"
    assert Memory.objects.state_counts()["embedded"] == stored.document.memories.count()


def test_a_wrong_key_fails_in_words_and_a_retry_mends_it(agent: Agent, provider: EmbeddingServer) -> None:
    provider.answer = lambda body: (401, {}, {"error": {"message": "bad key sk-12345678"}})
    job = run(put(agent).job)
    assert job.state == "failed"
    assert "check OPENAI_API_KEY" in job.last_error
    assert "sk-12345678" not in job.last_error
    provider.answer = None
    assert ledger.retry(job.pk)
    assert run(job).state == "succeeded"


def test_refused_chunks_are_named_and_the_rest_is_stored(agent: Agent, provider: EmbeddingServer) -> None:
    def refuse(body: dict[str, Any]) -> Any:
        if any("Paragraph 0." in text for text in body["input"]):
            return 400, {}, {"error": {"message": "not this one"}}
        return provider.vectors(body)

    provider.answer = refuse
    job = run(put(agent).job)
    assert job.state == "failed"
    assert "1 of " in job.last_error
    assert "not this one" in job.last_error
    counts = Memory.objects.state_counts()
    assert counts["failed"] == 1
    assert counts["embedded"] == Memory.objects.count() - 1


def test_a_cancelled_ingestion_stays_cancelled_until_it_is_retried(
    agent: Agent, provider: EmbeddingServer
) -> None:
    stored = put(agent, text=TEXT * 30)
    assert stored.job is not None

    def cancel_then_answer(body: dict[str, Any]) -> Any:
        ledger.cancel(stored.job.pk)  # type: ignore[union-attr]
        connection.close()  # of the server's thread, which lives on
        time.sleep(1.5)
        return provider.vectors(body)

    provider.answer = cancel_then_answer
    job = run(stored.job)
    assert job.state == "cancelled"

    waiting = Memory.objects.waiting()
    assert waiting.exists()
    waiting.update(created_at=timezone.now() - timedelta(hours=1))
    assert not Memory.objects.due(timezone.now()).exists()
    provider.answer = None
    assert ledger.retry(job.pk)
    assert run(job).state == "succeeded"
    assert not Memory.objects.waiting().exists()


def test_a_document_deleted_meanwhile_ends_the_job_in_words(agent: Agent, provider: EmbeddingServer) -> None:
    stored = put(agent)
    agent.delete()
    job = run(stored.job)
    assert (job.state, job.last_error) == ("failed", "The document was deleted before it was ingested.")
    assert Memory.objects.count() == 0


def test_what_another_service_inserts_is_embedded_by_one_job(agent: Agent, provider: EmbeddingServer) -> None:
    from memories.tasks import embed_pending

    embed_pending()
    assert not Job.objects.exists()
    for n in range(3):
        Memory.objects.create(agent=agent, content=f"from outside {n}")
    embed_pending()
    embed_pending()
    [job] = Job.objects.all()
    assert run(job).result == {"embedded": 3, "reused": 0, "refused": 0}
    assert (job.done, job.total) == (3, 3)
    embed_pending()
    assert Job.objects.count() == 1


def test_a_document_that_failed_is_ingested_by_giving_it_again(
    agent: Agent, provider: EmbeddingServer
) -> None:
    provider.answer = lambda body: (401, {}, {"error": {"message": "no"}})
    first = put(agent)
    assert run(first.job).state == "failed"
    provider.answer = None
    again = put(agent, name="copy.txt")
    assert not again.created
    assert again.document == first.document
    assert again.job != first.job
    assert run(again.job).state == "succeeded"
    assert not Memory.objects.exclude(embedding_state="embedded").exists()


def test_a_large_text_can_be_cancelled_while_it_is_cut(agent: Agent, provider: EmbeddingServer) -> None:
    stored = put(agent, text="A sentence of some words. " * 200_000)
    assert stored.job is not None
    said: list[str] = []

    def progress(done: int, total: int, message: str) -> None:
        said.append(message)
        if len(said) == 3:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        ingest.ingest_document(stored.document.pk, providers.get_provider(), progress)
    assert said[2].startswith("cutting the text into chunks: ")
    assert not Memory.objects.exists()
    stored.document.refresh_from_db()
    assert stored.document.chunked_at is None


def test_a_document_deleted_while_it_is_cut_is_no_success(agent: Agent, provider: EmbeddingServer) -> None:
    stored = put(agent)

    def delete(*_: Any) -> None:
        Document.objects.filter(pk=stored.document.pk).delete()

    with pytest.raises(Document.DoesNotExist):
        ingest.ingest_document(stored.document.pk, providers.get_provider(), delete)
