"""Ingestion: a text becomes a document, its chunks memories, and they get their vectors."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from agents.models import Agent
from arcweb import events
from arcweb.jobs import ledger
from arcweb.jobs.models import Job
from memories.chunking import chunk_text
from memories.embed import BatchResult, embed_waiting
from memories.models import Document, DocumentSource, EmbeddingState, Memory
from memories.providers import Provider
from memories.uploads import TextUpload

JOB_KIND = "ingest"
#: Rows in one INSERT of chunks.
INSERT_ROWS = 500
#: Seconds between looks at chunks that another worker is embedding.
PATIENCE = 0.5


@dataclass(frozen=True)
class Stored:
    """What became of an upload: its document, the job that ingests it, and whether the text was new."""

    document: Document
    job: Job | None
    created: bool


@dataclass(frozen=True)
class Outcome:
    """The state of a document's chunks at the end of its ingestion, in rows."""

    chunks: int
    embedded: int
    reused: int
    failed: int
    first_error: str = ""

    def as_json(self) -> dict[str, Any]:
        return {
            "chunks": self.chunks,
            "embedded": self.embedded,
            "reused": self.reused,
            "failed": self.failed,
        }


def store(agent: Agent, upload: TextUpload) -> Stored:
    """Keeps the text and queues its ingestion; a text the agent has already is not taken twice.

    Of two that store the same text at once, one creates the document and the other gets it.
    """
    with transaction.atomic():
        document, created = Document.objects.get_or_create(
            agent=agent,
            content_hash=upload.content_hash,
            defaults={"name": upload.name, "media_type": upload.media_type, "size_bytes": upload.size},
        )
        if not created:
            return Stored(document, _active_job(document), created=False)
        DocumentSource.objects.create(document=document, text=upload.text)
        job = _enqueue(document)
        events.record(
            "document.added",
            obj=document,
            agent_id=agent.pk,
            label=document.name,
            data={"size_bytes": upload.size, "job": str(job.pk)},
        )
    return Stored(document, job, created=True)


def reingest(document: Document) -> Job:
    """Queues the ingestion of a document again: for chunks that failed, or after a cancelled job."""
    with transaction.atomic():
        return _enqueue(document)


def _key(document: Document) -> str:
    return f"{JOB_KIND}:{document.pk}"


def _enqueue(document: Document) -> Job:
    return ledger.enqueue(
        JOB_KIND,
        title=f"Ingest {document.name}"[:200],
        target=str(document.agent),
        params={"document": str(document.pk)},
        unique_key=_key(document),
    )


def _active_job(document: Document) -> Job | None:
    return Job.objects.filter(unique_key=_key(document)).order_by("-created_at").first()


def ingest_document(
    document_id: UUID,
    provider: Provider,
    progress: Callable[[int, int, str], None],
) -> Outcome:
    """Chunks the document if that was not done, and embeds what has no vector. Safe to run twice.

    `progress(done, total, message)` counts chunks that have their vector, whoever made it; it may
    raise to stop, and the next run goes on from there. Raises Document.DoesNotExist when the document
    was deleted, ProviderError when the provider fails.
    """
    document = Document.objects.get(pk=document_id)
    if document.chunked_at is None:
        progress(0, 0, "cutting the text into chunks")
        chunk_document(document, provider)
    total = BatchResult()

    def show(message: str = "") -> int:
        counts = _counts(document_id)
        waiting = counts[EmbeddingState.PENDING] + counts[EmbeddingState.STALE]
        chunks = sum(counts.values())
        progress(chunks - waiting, chunks, message if waiting else "")
        return waiting

    def after_batch(batch: BatchResult) -> None:
        nonlocal total
        total += batch
        show()

    show()
    while True:
        embed_waiting(provider, document_id=document_id, after_batch=after_batch)
        waiting = show("the last chunks are with another worker")
        if not waiting:
            break
        time.sleep(PATIENCE)
    counts = _counts(document_id)
    failed = counts[EmbeddingState.FAILED]
    error = Memory.objects.filter(document_id=document_id, embedding_state=EmbeddingState.FAILED)
    return Outcome(
        chunks=sum(counts.values()),
        embedded=counts[EmbeddingState.EMBEDDED],
        reused=total.reused,
        failed=failed,
        first_error=(error.values_list("embedding_error", flat=True).first() or "") if failed else "",
    )


def _counts(document_id: UUID) -> dict[str, int]:
    return Memory.objects.filter(document_id=document_id).state_counts()


def chunk_document(document: Document, provider: Provider) -> int:
    """Stores the document's chunks as memories, once; returns how many there are."""
    from memories.local_model import counting_tokenizer  # loads a compiled library

    text = DocumentSource.objects.values_list("text", flat=True).get(document=document)
    chunks = chunk_text(
        text,
        tokenizer=counting_tokenizer(),
        tokens=provider.chunk_tokens,
        markdown=document.media_type == "text/markdown",
    )
    with transaction.atomic():
        won = Document.objects.filter(pk=document.pk, chunked_at=None).update(
            chunked_at=timezone.now(), chunk_count=len(chunks)
        )
        if won:
            Memory.objects.bulk_create(
                (
                    Memory(
                        agent_id=document.agent_id,
                        document=document,
                        position=chunk.position,
                        content=chunk.text,
                        metadata={"source": document.name, "start": chunk.start},
                    )
                    for chunk in chunks
                ),
                batch_size=INSERT_ROWS,
            )
    return len(chunks)
