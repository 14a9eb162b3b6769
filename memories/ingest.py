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
from memories import boards
from memories.chunking import Chunk, chunk_text, sections
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

    Of two that store the same text at once, one creates the document and the other gets it. A document
    that is there but was not embedded to the end (its job failed or was cancelled) is ingested again.
    Raises Agent.DoesNotExist when the agent was deleted meanwhile.
    """
    with transaction.atomic():
        # Keeps the agent until this is committed; a deletion waits, or came first.
        Agent.objects.select_for_update(no_key=True).only("pk").get(pk=agent.pk)
        document, created = Document.objects.get_or_create(
            agent=agent,
            content_hash=upload.content_hash,
            defaults={"name": upload.name, "media_type": upload.media_type, "size_bytes": upload.size},
        )
        if not created:
            return Stored(document, _enqueue(document) if _unfinished(document) else None, created=False)
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


def _enqueue(document: Document) -> Job:
    return ledger.enqueue(
        JOB_KIND,
        title=f"Ingest {document.name}"[:200],
        target=str(document.agent),
        params={"document": str(document.pk)},
        unique_key=f"{JOB_KIND}:{document.pk}",
    )


def _unfinished(document: Document) -> bool:
    waits = [EmbeddingState.PENDING, EmbeddingState.STALE, EmbeddingState.FAILED]
    missing = Memory.objects.filter(document=document, embedding_state__in=waits)
    return document.chunked_at is None or missing.exists()


def ingest_document(
    document_id: UUID,
    provider: Provider,
    progress: Callable[[int, int, str], None],
    wait: Callable[[float], None] = time.sleep,
) -> Outcome:
    """Chunks the document if that was not done, and embeds what has no vector. Safe to run twice.

    `progress(done, total, message)` counts chunks that have their vector, whoever made it. It may raise
    to stop, and so may `wait(seconds)`; the next run goes on from there. Raises Document.DoesNotExist
    when the document was deleted, ProviderError when the provider fails.
    """
    document = Document.objects.get(pk=document_id)
    if document.chunked_at is None:
        chunk_document(document, provider, progress)
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
        embed_waiting(provider, document_id=document_id, after_batch=after_batch, wait=wait)
        waiting = show("the last chunks are with another worker")
        if not waiting:
            break
        wait(PATIENCE)
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


def chunk_document(document: Document, provider: Provider, progress: Callable[[int, int, str], None]) -> int:
    """Stores the document's chunks as memories, once; returns how many there are.

    Raises Document.DoesNotExist when the document was deleted meanwhile.
    """
    from memories.local_model import counting_tokenizer  # loads a compiled library

    text = DocumentSource.objects.values_list("text", flat=True).get(document=document)
    tokenizer, markdown = counting_tokenizer(), document.media_type == "text/markdown"
    chunks: list[Chunk] = []
    for start, section in sections(text):
        progress(
            0, 0, f"cutting the text into chunks: {start * 100 // len(text)} % of it, {len(chunks)} chunks"
        )
        cut = chunk_text(section, tokenizer=tokenizer, tokens=provider.chunk_tokens, markdown=markdown)
        chunks += [Chunk(len(chunks) + n, start + chunk.start, chunk.text) for n, chunk in enumerate(cut)]
    with transaction.atomic():
        Document.objects.select_for_update(no_key=True).only("pk").get(pk=document.pk)
        won = Document.objects.filter(pk=document.pk, chunked_at=None).update(
            chunked_at=timezone.now(), chunk_count=len(chunks)
        )
        if won:
            for first in range(0, len(chunks), INSERT_ROWS):
                progress(0, len(chunks), f"storing chunks: {first} of {len(chunks)}")
                Memory.objects.bulk_create(
                    Memory(
                        agent_id=document.agent_id,
                        document=document,
                        position=chunk.position,
                        content=chunk.text,
                        metadata={"source": document.name, "start": chunk.start},
                    )
                    for chunk in chunks[first : first + INSERT_ROWS]
                )
            boards.stored(document.agent_id, len(chunks))
    return len(chunks)
