"""What the beat starts for waiting memories, and what a cancel means for them."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.db.models import F
from django.utils import timezone

from agents.models import Agent
from arcweb.backups.restore import requests
from arcweb.database.partitions import retention
from arcweb.jobs import ledger, registry
from arcweb.jobs.models import Job
from arcweb.jobs.querysets import STALE_AFTER
from memories import embed, ingest, providers, uploads
from memories.models import Document, Memory
from memories.search import Filters, search
from memories.tasks import embed_pending
from tests.memories.conftest import EmbeddingServer

pytestmark = pytest.mark.django_db(transaction=True)
State = Job.State

TEXT = "\n\n".join(f"Paragraph {n}. A lease that nobody renews runs out by the clock." for n in range(90))


@pytest.fixture
def provider(embedding_server: EmbeddingServer, settings: Any) -> Iterator[EmbeddingServer]:
    settings.ARC_EMBEDDING_PROVIDER = "openai"
    settings.OPENAI_API_KEY = "sk-not-a-secret"
    settings.OPENAI_BASE_URL = f"{embedding_server.url}/v1"
    settings.ARC_OPENAI_RETRIES = 0
    providers.forget_providers()
    yield embedding_server
    providers.forget_providers()


def embed_jobs() -> list[Job]:
    return list(Job.objects.filter(kind="embed").order_by("created_at"))


def run(job: Job) -> Job:
    ledger.run(job.pk)
    job.refresh_from_db()
    return job


def later(*, minutes: float) -> None:
    """So much time goes by, as far as ended jobs are concerned."""
    Job.objects.update(finished_at=F("finished_at") - timedelta(minutes=minutes))


@pytest.fixture
def waiting(agent: Agent) -> Agent:
    for number in range(200):
        Memory.objects.create(agent=agent, content=f"from outside {number}")
    return agent


def test_a_cancelled_embed_job_is_not_started_again_for_ten_minutes(
    waiting: Agent, provider: EmbeddingServer
) -> None:
    embed_pending()
    [job] = embed_jobs()
    assert ledger.cancel(job.pk)
    embed_pending()
    assert embed_jobs() == [job]
    later(minutes=9)
    embed_pending()
    assert embed_jobs() == [job]
    later(minutes=1.1)
    embed_pending()
    assert len(embed_jobs()) == 2


def test_a_person_may_retry_a_cancelled_embed_job_at_once(waiting: Agent, provider: EmbeddingServer) -> None:
    embed_pending()
    [job] = embed_jobs()
    ledger.cancel(job.pk)
    assert ledger.retry(job.pk)
    assert run(job).state == State.SUCCEEDED
    Memory.objects.create(agent=waiting, content="one more")
    embed_pending()
    assert len(embed_jobs()) == 2, "a retried job that succeeded holds nothing up"


def test_an_outage_of_the_provider_adds_few_jobs(waiting: Agent, provider: EmbeddingServer) -> None:
    provider.answer = lambda body: (500, {}, {"error": {"message": "broken"}})
    embed_pending()
    assert run(embed_jobs()[-1]).state == State.FAILED
    assert Memory.objects.due(timezone.now()).exists(), "other rows of the backlog are due"
    embed_pending()
    assert len(embed_jobs()) == 1
    later(minutes=0.6)
    embed_pending()
    assert len(embed_jobs()) == 2
    Memory.objects.update(embedding_due_at=None)
    assert run(embed_jobs()[-1]).state == State.FAILED
    later(minutes=0.6)
    embed_pending()
    assert len(embed_jobs()) == 2, "the second failure in a row means a minute"
    later(minutes=0.5)
    embed_pending()
    provider.answer = None
    Memory.objects.update(embedding_due_at=None)
    assert run(embed_jobs()[-1]).state == State.SUCCEEDED
    Memory.objects.create(agent=waiting, content="one more")
    embed_pending()
    assert len(embed_jobs()) == 4


def test_embed_jobs_do_not_wait_behind_ingestions() -> None:
    queues = {handler.kind: handler.queue for handler in registry.handlers()}
    assert (queues["embed"], queues["ingest"]) == ("quick", "celery")


def test_beside_embed_jobs_are_only_jobs_of_moments() -> None:
    """The queue `quick` has two workers, and the reconciler, samples and alarms go through it too."""
    quick = {handler.kind for handler in registry.handlers() if handler.queue == "quick"}
    assert quick == {"embed", retention.MAKE, requests.START}


def test_a_chunk_that_was_just_ingested_is_embedded_anew_as_soon_as_any_other(
    agent: Agent, provider: EmbeddingServer
) -> None:
    stored = ingest.store(agent, uploads.from_text("notes.txt", TEXT, limit_mb=20))
    assert stored.job is not None
    assert run(stored.job).state == State.SUCCEEDED
    chunk = Memory.objects.filter(document=stored.document)[0]
    with connection.cursor() as cursor:
        cursor.execute("UPDATE agents.memories SET content = 'A gull took it.' WHERE id = %s", [chunk.pk])
        cursor.execute(
            "INSERT INTO agents.memories (agent_id, document_id, content) VALUES (%s, %s, 'And another.')",
            [agent.pk, stored.document.pk],
        )
    assert Memory.objects.waiting().count() == 2
    embed_pending()
    assert [run(job).result for job in embed_jobs()] == [{"embedded": 2, "reused": 0, "refused": 0}]
    found = search(
        "A gull took it.", providers.get_provider(), filters=Filters(agent.pk), k=1, mode="semantic"
    )
    assert [hit.id for hit in found.hits] == [chunk.pk]


def interrupted_ingestion(agent: Agent, provider: EmbeddingServer) -> Job:
    """An ingestion that has cut its text into chunks and waits for its provider."""
    provider.answer = lambda body: (503, {"Retry-After": "7"}, {"error": {"message": "overloaded"}})
    stored = ingest.store(agent, uploads.from_text("notes.txt", TEXT, limit_mb=20))
    assert stored.job is not None
    job = run(stored.job)
    assert job.state == State.QUEUED
    provider.answer = None
    return job


def test_a_document_is_embedded_by_its_own_job_alone(agent: Agent, provider: EmbeddingServer) -> None:
    job = interrupted_ingestion(agent, provider)
    rest = Memory.objects.waiting()
    rest.update(created_at=timezone.now() - timedelta(hours=1), embedding_due_at=None)
    assert rest.exists()
    other = Memory.objects.create(agent=agent, content="of another service")
    embed_pending()
    [beside] = embed_jobs()
    assert run(beside).state == State.SUCCEEDED
    assert rest.exists(), "they are left to the job of the document"
    other.refresh_from_db()
    assert other.embedding_state == "embedded"
    assert not Memory.objects.due(timezone.now()).exists()
    Job.objects.filter(pk=job.pk).update(state=State.FAILED, finished_at=timezone.now(), next_retry_at=None)
    assert Memory.objects.due(timezone.now()).exists(), "nobody else does it any more"


def test_a_retried_ingestion_leaves_to_the_embed_job_what_that_has_begun(
    agent: Agent, provider: EmbeddingServer
) -> None:
    job = interrupted_ingestion(agent, provider)
    Job.objects.filter(pk=job.pk).update(state=State.FAILED, finished_at=timezone.now(), next_retry_at=None)
    long_ago = timezone.now() - timedelta(hours=1)
    Memory.objects.waiting().update(embedding_due_at=None, embedding_error="", created_at=long_ago)
    embed_pending()
    [beside] = embed_jobs()
    document = Document.objects.get()
    taken = embed.claim(2, lease_seconds=60)
    assert len(taken) == 2
    Job.objects.filter(pk=beside.pk).update(
        state=State.RUNNING, claim=uuid.uuid4(), heartbeat_at=timezone.now()
    )
    embed.release(document.pk)
    mine = embed.claim(100, lease_seconds=60, document_id=document.pk)
    assert not {row.id for row in mine} & {row.id for row in taken}
    Job.objects.filter(pk=beside.pk).update(state=State.FAILED, claim=None, finished_at=timezone.now())
    embed.release(document.pk)
    assert {row.id for row in taken} <= {
        row.id for row in embed.claim(100, lease_seconds=60, document_id=document.pk)
    }


def cancel_by_hand(job: Job) -> None:
    assert ledger.cancel(job.pk)


def cancel_and_lose_the_worker(job: Job) -> None:
    Job.objects.filter(pk=job.pk).update(
        state=State.RUNNING,
        claim=uuid.uuid4(),
        cancel_requested_at=timezone.now(),
        heartbeat_at=timezone.now() - STALE_AFTER - timedelta(seconds=1),
    )
    assert ledger.reconcile().cancelled == 1


@pytest.mark.parametrize("cancel", [cancel_by_hand, cancel_and_lose_the_worker])
def test_the_beat_leaves_the_rest_of_a_cancelled_document_alone(
    agent: Agent, provider: EmbeddingServer, cancel: Callable[[Job], None]
) -> None:
    job = interrupted_ingestion(agent, provider)
    cancel(job)
    rest = Memory.objects.waiting()
    assert rest.exists()
    rest.update(created_at=timezone.now() - timedelta(hours=1))
    assert not Memory.objects.due(timezone.now() + timedelta(hours=1)).exists()
    embed_pending()
    assert embed_jobs() == []
    assert "retry its job" in Memory.objects.waiting()[0].embedding_error
    assert ledger.retry(job.pk)
    assert run(job).state == State.SUCCEEDED
    assert not Memory.objects.waiting().exists()
