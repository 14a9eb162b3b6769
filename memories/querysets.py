"""Named queries on documents and memories. None of them loads a vector."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple
from uuid import UUID

from django.db import connections, models
from django.db.models import Count, Q
from django.db.models.functions import Left

from arcweb.postgres import replica

if TYPE_CHECKING:
    from memories.models import Memory  # noqa: F401 - the models import this module


#: Characters of the content that a list reads.
PREVIEW = 400

# For each agent: a capped count by the index, the newest memory, and what the statistics know of agents
# that have very many (the share of the rows that the last ANALYZE found to be theirs).
OF_AGENTS = """
    WITH known AS (
        SELECT unnest(most_common_vals::text::uuid[]) AS id, unnest(most_common_freqs) AS share
        FROM pg_stats WHERE schemaname = 'agents' AND tablename = 'memories' AND attname = 'agent_id'
    )
    SELECT a.id,
        (SELECT count(*) FROM (
            SELECT FROM agents.memories AS m WHERE m.agent_id = a.id LIMIT %(most)s + 1
        ) AS counted),
        coalesce((
            SELECT share * reltuples FROM known, pg_class
            WHERE known.id = a.id AND pg_class.oid = 'agents.memories'::regclass AND reltuples > 0
        ), 0),
        (SELECT m.created_at FROM agents.memories AS m WHERE m.agent_id = a.id AND m.created_at IS NOT NULL
         ORDER BY m.created_at DESC, m.id DESC LIMIT 1)
    FROM unnest(%(ids)s::uuid[]) AS a (id)
"""


def being_ingested() -> list[UUID]:
    """Documents whose ingestion is queued or runs: their chunks are that job's."""
    from arcweb.jobs.models import Job  # the models import this module

    jobs = Job.objects.active().filter(kind="ingest").values_list("params__document", flat=True)
    return [UUID(document) for document in jobs if document]


class OfAgent(NamedTuple):
    """Memories of one agent: counted up to a limit, as estimated where they are more, and the newest."""

    counted: int
    estimated: int
    newest: datetime | None


def of_agents(ids: Sequence[UUID], most: int) -> dict[UUID, OfAgent]:
    """By agent id, in one query whose cost has a bound: at most `most` + 1 rows of the index an agent."""
    with connections[replica.alias()].cursor() as cursor:
        cursor.execute(OF_AGENTS, {"ids": list(ids), "most": most})
        return {
            agent: OfAgent(counted, round(estimated), newest)
            for agent, counted, estimated, newest in cursor.fetchall()
        }


class MemoryQuerySet(models.QuerySet["Memory"]):
    def without_vectors(self) -> MemoryQuerySet:
        """Leaves out what is large and never shown: the vector and the full-text column."""
        return self.defer("embedding", "content_tsv")

    def listed(self) -> MemoryQuerySet:
        """As a list shows them: `start` is the beginning of the content, which may be long."""
        return self.defer("embedding", "content_tsv", "content", "content_hash", "metadata").annotate(
            start=Left("content", PREVIEW)
        )

    def waiting(self) -> MemoryQuerySet:
        """Rows that want a vector, due or not."""
        return self.filter(embedding_state__in=["pending", "stale"])

    def due(self, now: datetime) -> MemoryQuerySet:
        """Rows that want a vector and are neither leased nor put off, but for those a document's job embeds.

        A document's own job embeds its chunks, and is queued in the transaction that stores the document: a
        chunk without one under way was changed or added since, or its job ended without it.
        """
        due = self.waiting().filter(Q(embedding_due_at=None) | Q(embedding_due_at__lte=now))
        return due.exclude(document_id__in=being_ingested())

    def state_counts(self) -> dict[str, int]:
        """How many rows are in each embedding state; absent states count 0."""
        from memories.models import EmbeddingState  # the models import this module

        counts = dict.fromkeys(EmbeddingState.values, 0)
        counts.update(self.order_by().values_list("embedding_state").annotate(Count("pk")))
        return counts
