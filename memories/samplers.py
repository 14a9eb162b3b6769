"""How many memories stand how with their vector, cheaply at any size, and the samples of it."""

from __future__ import annotations

from dataclasses import dataclass, field

from django.db import connection

from arcweb.samples.registry import Sampler, register_sampler

#: Rows of one state that are counted. Beyond it counting costs too much to be done every few seconds.
MOST_COUNTED = 50_000
STATES = ("embedded", "pending", "stale", "failed", "empty")

# Each count reads the index of states and no further than the limit. The size of the table is the
# planner's own estimate: rows by the last ANALYZE, scaled to the pages that there are now.
COUNT = """
    SELECT name,
           (SELECT count(*) FROM (
               SELECT FROM agents.memories WHERE embedding_state = name LIMIT %(most)s + 1
           ) AS counted)
    FROM unnest(%(states)s::text[]) AS name
    UNION ALL
    SELECT '', CASE WHEN reltuples > 0 AND relpages > 0
        THEN round(reltuples::numeric / relpages
                   * (pg_relation_size(oid) / current_setting('block_size')::numeric))::bigint
        ELSE 0 END
    FROM pg_class WHERE oid = 'agents.memories'::regclass
"""


@dataclass(frozen=True)
class StateCounts:
    """Memories by embedding state. `capped`: the states of which there are more than was counted."""

    counts: dict[str, int]
    capped: frozenset[str] = field(default_factory=frozenset)

    @property
    def total(self) -> int:
        return sum(self.counts.values())

    @property
    def estimated(self) -> bool:
        return bool(self.capped)


def count_states() -> StateCounts:
    """Exact up to MOST_COUNTED rows of a state; a larger one is what the table's estimated size leaves."""
    with connection.cursor() as cursor:
        cursor.execute(COUNT, {"states": list(STATES), "most": MOST_COUNTED})
        found: dict[str, int] = dict(cursor.fetchall())
    size = found.pop("")
    capped = frozenset(name for name, count in found.items() if count > MOST_COUNTED)
    if capped:
        # Nearly always one state, "embedded", is that large; several share what is left.
        exact = sum(count for name, count in found.items() if name not in capped)
        for name in capped:
            found[name] = max(MOST_COUNTED, round((size - exact) / len(capped)))
    return StateCounts(found, capped)


def take() -> dict[str, float]:
    counts = count_states()
    return {**counts.counts, "total": counts.total, "documents": _documents()}


DOCUMENTS = "SELECT count(*) FROM (SELECT FROM agents.documents LIMIT %s) AS counted"


def _documents() -> int:
    with connection.cursor() as cursor:
        cursor.execute(DOCUMENTS, [MOST_COUNTED])
        return int(cursor.fetchone()[0])


register_sampler(Sampler("memories", take))
