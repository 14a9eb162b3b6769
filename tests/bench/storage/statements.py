"""The reads that are timed, and how many of the true neighbours they find."""

from __future__ import annotations

import statistics
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from typing import Any

from tests.bench.storage.connection import run
from tests.bench.storage.layouts import Connection, Layout, Vectors

NEAREST = """
SELECT id, content, 1 - distance AS similarity FROM (
    SELECT id, content, {distance} AS distance FROM {name} WHERE {where} ORDER BY distance LIMIT 10
) AS nearest ORDER BY distance
"""


def exact_statement(layout: Layout, name: str, *, filtered: bool = True) -> str:
    """Parameters: query vector, then the agent when filtered. `+ 0` keeps every vector index out."""
    where = "agent_id = %s" if filtered else "embedding IS NOT NULL"
    return NEAREST.format(name=name, distance=f"({layout.distance(by_index=False)}) + 0", where=where)


def hnsw_statement(layout: Layout, name: str, *, filtered: bool = True) -> str:
    where = "agent_id = %s" if filtered else "embedding IS NOT NULL"
    return NEAREST.format(name=name, distance=layout.distance(by_index=True), where=where)


def searcher(
    db: Connection, statement: str, agent: uuid.UUID | None, queries: Vectors
) -> Callable[[], list[tuple[Any, ...]]]:
    """A call that searches for the next of the queries each time."""
    turn = count()
    tail = () if agent is None else (agent,)
    return lambda: run(db, statement, (queries[next(turn) % len(queries)], *tail))


def hits(rows: list[tuple[Any, ...]]) -> set[uuid.UUID]:
    return {row[0] for row in rows}


def recall(found: Sequence[set[uuid.UUID]], truth: Sequence[set[uuid.UUID]]) -> float:
    """Mean share of the true nearest rows that were found, 0 to 1."""
    return statistics.fmean(len(f & t) / len(t) for f, t in zip(found, truth, strict=True))


KEYWORD = """
SELECT id, content, ts_rank_cd(content_tsv, query) AS rank
FROM {name}, websearch_to_tsquery('english', %s) AS query
WHERE agent_id = %s AND content_tsv @@ query
ORDER BY rank DESC LIMIT 10
"""
COUNT = "SELECT count(*) FROM {name} WHERE agent_id = %s AND state = 'ready'"
FILTER = """SELECT count(*) FROM {name} WHERE agent_id = %s AND metadata @> '{{"position": 7}}'"""
SCAN = "SELECT count(*) FROM {name} WHERE content ILIKE '%%metaclass%%' AND agent_id IS DISTINCT FROM %s"
NEWEST = """
SELECT id, content, metadata, created_at, state FROM {name}
WHERE agent_id = %s ORDER BY created_at DESC, id DESC LIMIT 50
"""


@contextmanager
def setting(db: Connection, **values: str) -> Iterator[None]:
    """Session settings for a while; a double underscore stands for a dot."""
    names = {key.replace("__", "."): value for key, value in values.items()}
    for name, value in names.items():
        run(db, f"SET {name} = '{value}'")
    try:
        yield
    finally:
        for name in names:
            run(db, f"RESET {name}")
        run(db, "SET max_parallel_workers_per_gather = 0")
