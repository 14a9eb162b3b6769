"""How many memories stand how with their vector, cheaply at any size, and the samples of it."""

from __future__ import annotations

from dataclasses import dataclass, field

from django.db import connection

from arcweb.samples.registry import Sampler, register_sampler

#: Rows of one state that are counted. Beyond it counting costs too much to be done every few seconds.
MOST_COUNTED = 10_000
STATES = ("embedded", "pending", "stale", "failed", "empty")

# Whatever the planner thinks of the table: its rows are large, the index of states is small. Until the end of
# the transaction.
BY_INDEX = "SELECT set_config('enable_seqscan', 'off', true), set_config('enable_bitmapscan', 'off', true)"
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
    """Memories by embedding state.

    capped: the states of which there are more than were counted; their number is an estimate, or with
    `at_least` the number where the counting ended.
    """

    counts: dict[str, int]
    capped: frozenset[str] = field(default_factory=frozenset)
    at_least: bool = False

    @property
    def total(self) -> int:
        return sum(self.counts.values())

    def word(self, state: str = "") -> str:
        """What stands before the number of that state, or of all: "about ", "more than " or nothing."""
        if not self.capped or (state and state not in self.capped):
            return ""
        return "more than " if self.at_least else "about "


def count_states() -> StateCounts:
    """Exact up to MOST_COUNTED rows of a state; a larger one is what the table's estimated size leaves.

    To be called in a transaction; else the planner may read the whole table.
    """
    with connection.cursor() as cursor:
        cursor.execute(BY_INDEX)
        cursor.execute(COUNT, {"states": list(STATES), "most": MOST_COUNTED})
        found: dict[str, int] = dict(cursor.fetchall())
    size = found.pop("")
    capped = frozenset(name for name, count in found.items() if count > MOST_COUNTED)
    left = size - sum(count for name, count in found.items() if name not in capped)
    # A table that was never analyzed has no size yet.
    at_least = left <= MOST_COUNTED * len(capped)
    for name in capped:
        # Nearly always one state, "embedded", is that large; several share what is left.
        found[name] = MOST_COUNTED if at_least else round(left / len(capped))
    return StateCounts(found, capped, at_least)


def take() -> dict[str, float]:
    counts = count_states()
    return {**counts.counts, "total": counts.total, "documents": _documents()}


DOCUMENTS = "SELECT count(*) FROM (SELECT FROM agents.documents LIMIT %s) AS counted"


def _documents() -> int:
    with connection.cursor() as cursor:
        cursor.execute(DOCUMENTS, [MOST_COUNTED])
        return int(cursor.fetchone()[0])


register_sampler(Sampler("memories", take))
