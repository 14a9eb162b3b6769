"""Giving memories their vectors: claim a batch, embed it outside any transaction, write it.

A claim is a lease on the rows (embedding_due_at in the future), taken with FOR UPDATE SKIP LOCKED:
a worker that dies loses it by the clock. A write is conditional on the content's hash, so that a
vector can never stand beside a content it was not made from, however many workers try.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from uuid import UUID

from django.db import connection, transaction

from memories.pg import vector_cursor
from memories.providers import (
    Provider,
    ProviderError,
    ProviderMisconfiguredError,
    ProviderRefusedError,
    ProviderUnavailableError,
)
from memories.vectors import Vectors

#: Seconds until rows are tried again after the provider was away: doubled each time, within these.
FIRST_BACKOFF, LONGEST_BACKOFF = 5, 600


@dataclass(frozen=True)
class Claimed:
    """One row under this worker's lease."""

    id: UUID
    content: str
    content_hash: bytes


@dataclass(frozen=True)
class BatchResult:
    """What became of a batch, in rows: embedded by the provider, given an equal text's vector, refused."""

    embedded: int = 0
    reused: int = 0
    refused: int = 0

    @property
    def rows(self) -> int:
        return self.embedded + self.reused + self.refused

    def __add__(self, other: BatchResult) -> BatchResult:
        return BatchResult(
            self.embedded + other.embedded, self.reused + other.reused, self.refused + other.refused
        )


OF_NO_JOB = """AND (document_id IS NULL OR NOT EXISTS (
                    SELECT FROM jobs_job
                    WHERE unique_key = 'ingest:' || document_id AND unique_key <> ''
                      AND state IN ('queued', 'running')))"""


def claim(limit: int, *, lease_seconds: int, document_id: UUID | None = None) -> list[Claimed]:
    """Leases up to `limit` rows that want a vector and are due; of one document when given.

    Rows that no document waits for come first: what another service wrote is searchable soon even
    while a large document is being embedded. Chunks of a document whose own job is under way are that
    job's alone: two that embed one document are no faster, and look like one too many.
    """
    only = "AND document_id = %(document)s" if document_id else OF_NO_JOB
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            UPDATE agents.memories SET
                embedding_due_at = clock_timestamp() + make_interval(secs => %(lease)s),
                embedding_attempts = least(embedding_attempts + 1, 1000)
            WHERE id = ANY (ARRAY(
                SELECT id FROM agents.memories
                WHERE embedding_state IN ('pending', 'stale')
                  AND (embedding_due_at IS NULL OR embedding_due_at <= clock_timestamp()) {only}
                ORDER BY (document_id IS NOT NULL), created_at
                LIMIT %(limit)s FOR UPDATE SKIP LOCKED
            ))
            RETURNING id, content, content_hash
            """,  # noqa: S608 - `only` is one of two literals
            {"lease": lease_seconds, "limit": limit, "document": document_id},
        )
        return [Claimed(row[0], row[1], bytes(row[2])) for row in cursor.fetchall()]


def reuse_vectors(claimed: Sequence[Claimed], model: str) -> set[UUID]:
    """Gives rows the vector that an equal text already has from the same model; returns their ids."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            UPDATE agents.memories AS m SET
                embedding = known.embedding, embedding_model = %(model)s, embedded_at = clock_timestamp()
            FROM (
                SELECT DISTINCT ON (content_hash) content_hash, embedding FROM agents.memories
                WHERE content_hash = ANY (%(hashes)s) AND embedding_model = %(model)s
                  AND embedding_state = 'embedded'
                ORDER BY content_hash
            ) AS known
            WHERE m.id = ANY (%(ids)s) AND m.content_hash = known.content_hash
              AND m.embedding_state IN ('pending', 'stale')
            RETURNING m.id
            """,
            {
                "model": model,
                "hashes": [row.content_hash for row in claimed],
                "ids": [row.id for row in claimed],
            },
        )
        return {row[0] for row in cursor.fetchall()}


def write_vectors(claimed: Sequence[Claimed], vectors: Vectors, model: str) -> int:
    """Stores the vectors of rows whose content is still the one they were made from; returns how many."""
    with transaction.atomic(), vector_cursor() as cursor:
        cursor.executemany(
            """
            UPDATE agents.memories SET
                embedding = %s, embedding_model = %s, embedded_at = clock_timestamp()
            WHERE id = %s AND content_hash = %s
            """,
            [(vector, model, row.id, row.content_hash) for row, vector in zip(claimed, vectors, strict=True)],
        )
        return cursor.rowcount


def write_refusal(row: Claimed, sentence: str) -> None:
    """Marks a row that the provider will not embed, with the reason; a changed content clears it."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            UPDATE agents.memories SET
                embedding_state = 'failed', embedding_error = %s, embedding_due_at = NULL
            WHERE id = %s AND content_hash = %s AND embedding_state IN ('pending', 'stale')
            """,
            [sentence, row.id, row.content_hash],
        )


def put_off(claimed: Sequence[Claimed], sentence: str, seconds: float | None) -> None:
    """Returns rows to the queue with the reason: due after `seconds`, or after a backoff that doubles."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            UPDATE agents.memories SET
                embedding_error = %(why)s,
                embedding_due_at = clock_timestamp() + make_interval(secs => coalesce(
                    %(seconds)s::float8,
                    least(%(first)s * power(2, least(embedding_attempts, 20) - 1), %(longest)s)))
            WHERE id = ANY (%(ids)s) AND embedding_state IN ('pending', 'stale')
            """,
            {
                "why": sentence,
                "seconds": seconds,
                "first": FIRST_BACKOFF,
                "longest": LONGEST_BACKOFF,
                "ids": [row.id for row in claimed],
            },
        )


def release(document_id: UUID) -> int:
    """Makes every chunk of a document that has no vector due now: leased, put off, held or failed ones.

    For a new run of the document's job: the ledger has made sure that the earlier one is over. What the
    job of all waiting memories has leased meanwhile stays with it while it runs: it is not paid for twice.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            """
            UPDATE agents.memories SET
                embedding_state = CASE WHEN embedding IS NULL THEN 'pending' ELSE 'stale' END,
                embedding_error = '', embedding_attempts = 0, embedding_due_at = NULL
            WHERE document_id = %s AND embedding_state IN ('failed', 'pending', 'stale')
              AND (embedding_state = 'failed' OR embedding_due_at IS NOT NULL)
              AND NOT (embedding_state <> 'failed' AND embedding_error = ''
                       AND embedding_due_at > clock_timestamp()
                       AND EXISTS (SELECT FROM jobs_job WHERE kind = 'embed' AND state = 'running'))
            """,
            [document_id],
        )
        return cursor.rowcount


def try_again(ids: Sequence[UUID]) -> int:
    """Returns failed rows to the queue; returns how many of these ids were failed."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            UPDATE agents.memories SET
                embedding_state = CASE WHEN embedding IS NULL THEN 'pending' ELSE 'stale' END,
                embedding_error = '', embedding_attempts = 0, embedding_due_at = NULL
            WHERE id = ANY (%s) AND embedding_state = 'failed'
            """,
            [list(ids)],
        )
        return cursor.rowcount


def hold(document_id: UUID) -> int:
    """Keeps the waiting chunks of a document from being embedded until `release`: its job was cancelled."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            UPDATE agents.memories SET embedding_due_at = '9999-12-31 00:00+00', embedding_error = %s
            WHERE document_id = %s AND embedding_state IN ('pending', 'stale')
            """,
            ["The ingestion was cancelled; retry its job to embed the rest.", document_id],
        )
        return cursor.rowcount


def embed_batch(
    claimed: Sequence[Claimed], provider: Provider, wait: Callable[[float], None] = time.sleep
) -> BatchResult:
    """Embeds claimed rows and writes what came of it.

    Texts that are known, or twice in the batch, are sent once. A refusal of the batch is narrowed
    down to the texts that cause it. When the provider is away or misconfigured the rows go back to
    the queue with the reason and its error is raised again.
    """
    reused = reuse_vectors(claimed, provider.model)
    todo = [row for row in claimed if row.id not in reused]
    first_of: dict[bytes, Claimed] = {}
    for row in todo:
        first_of.setdefault(row.content_hash, row)
    result = BatchResult(reused=len(reused))
    try:
        unique = list(first_of.values())
        result += _embed_or_narrow(unique, provider, wait)
    except ProviderError as error:
        seconds = error.retry_after if isinstance(error, ProviderUnavailableError) else None
        put_off(todo, str(error), seconds)
        raise
    twins = [row for row in todo if first_of[row.content_hash] is not row]
    if twins:
        copied = reuse_vectors(twins, provider.model)
        result = replace(result, reused=result.reused + len(copied))
    return result


def _embed_or_narrow(
    rows: Sequence[Claimed], provider: Provider, wait: Callable[[float], None], *, works: bool = False
) -> BatchResult:
    """Embeds rows, halving them where they are refused; `works`: the provider takes other texts."""
    if not rows:
        return BatchResult()
    try:
        vectors = provider.embed([row.content for row in rows], wait)
    except ProviderRefusedError as error:
        if not works:
            _refuses_only_these(provider, wait)
        if len(rows) == 1:
            write_refusal(rows[0], str(error))
            return BatchResult(refused=1)
        halves = (rows[: len(rows) // 2], rows[len(rows) // 2 :])
        first, second = (_embed_or_narrow(half, provider, wait, works=True) for half in halves)
        return first + second
    return BatchResult(embedded=write_vectors(rows, vectors, provider.model))


def _refuses_only_these(provider: Provider, wait: Callable[[float], None]) -> None:
    """Raises ProviderMisconfiguredError when the provider refuses a harmless text as well.

    A wrong setting may look like a refused text; it must not mark every memory as failed.
    """
    try:
        provider.embed(["hello"], wait)
    except ProviderRefusedError as error:
        raise ProviderMisconfiguredError(
            f"{error} It refuses any text, so its settings are wrong."
        ) from error


def embed_waiting(
    provider: Provider,
    *,
    document_id: UUID | None = None,
    after_batch: Callable[[BatchResult], None] | None = None,
    wait: Callable[[float], None] = time.sleep,
) -> BatchResult:
    """Embeds everything that is due, of one document or of all; returns the sum of its batches.

    `after_batch` is called with each batch's result and may raise to stop: nothing is lost, for every
    batch is written before it. So may `wait`, which is called between a provider's tries.
    Raises ProviderUnavailableError or ProviderMisconfiguredError.
    """
    total = BatchResult()
    while claimed := claim(
        provider.batch_size, lease_seconds=provider.lease_seconds, document_id=document_id
    ):
        result = embed_batch(claimed, provider, wait)
        total += result
        if after_batch:
            after_batch(result)
    return total
