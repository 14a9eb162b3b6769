"""How the rows are found: by comparing every vector, by the HNSW index, or by their words.

Routing. An index scan that filters afterwards misses rows, and the planner may choose it where
reading every vector is both exact and faster. So the route is chosen here: up to EXACT_ROWS
candidates are compared one by one; beyond that the HNSW index answers, with iterative scans, and
whenever it finds fewer than k the search is repeated exactly. docs/DECISIONS.md has the figures.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple
from uuid import UUID

from django.db import transaction
from psycopg import sql
from psycopg.rows import dict_row

from arcweb.postgres import replica
from memories.highlight import LONGEST_MARKED, spans
from memories.pg import vector_cursor
from memories.search.query import (
    ALL_WORDS,
    COLUMNS,
    COUNTED,
    EXACT,
    MARKED,
    MATCHING,
    NEAREST,
    ROWS,
    SIMILARITY,
    Filters,
    candidates,
    params_of,
)
from memories.search.result import Hit
from memories.statements import Recorder
from memories.vectors import Vectors

#: Candidates up to which an exact comparison is used.
EXACT_ROWS = 10_000
#: hnsw.ef_search: candidates kept while walking the graph; at least twice k, pgvector's limit is 1000.
EF_SEARCH = 100
#: Rows that match a keyword search up to which they are ranked: a word that is everywhere must not cost more.
RANKED_ROWS = 10_000
#: Milliseconds that one statement of a search may take.
STATEMENT_TIMEOUT = 10_000


@contextmanager
def statements() -> Iterator[Recorder]:
    """One transaction with the time limit of a search."""
    with transaction.atomic(using=replica.alias()), vector_cursor(dict_row) as cursor:
        run = Recorder(cursor)
        run(sql.SQL("SET LOCAL statement_timeout = {}").format(STATEMENT_TIMEOUT))
        yield run


class Near(NamedTuple):
    found: list[tuple[UUID, float]]  #: (id, similarity), most similar first
    route: str
    how: str
    candidates: int
    capped: bool


def nearest(run: Recorder, vector: Vectors, models: list[str], filters: Filters, k: int) -> Near:
    """The k nearest, by the route that the number of candidates asks for."""
    where = candidates(filters, models)
    params = {**params_of(filters), "models": models, "q": vector, "k": k, "cap": EXACT_ROWS + 1}
    count = run(sql.SQL(COUNTED).format(where), params)[0]["n"]
    if count <= EXACT_ROWS:
        found = _compare(run, where, params, sql.SQL(EXACT))
        return Near(
            found, "exact", f"exact, {count:,} {'row' if count == 1 else 'rows'}", count, capped=False
        )
    searched = min(1000, max(EF_SEARCH, 2 * k))
    run(sql.SQL("SET LOCAL hnsw.iterative_scan = 'relaxed_order'"))
    run(sql.SQL("SET LOCAL hnsw.ef_search = {}").format(searched))
    # The planner would sometimes read and sort everything, which is the other route.
    run(sql.SQL("SET LOCAL enable_sort = off"))
    found = _compare(run, where, params, sql.SQL("m.embedding <=> %(q)s"))
    many = f"over more than {EXACT_ROWS:,} rows"
    if len(found) >= k:
        how = f"HNSW index, ef_search {searched}, {many}"
        return Near(found, "hnsw", how, EXACT_ROWS, capped=True)
    how = f"exact, {many}, since the HNSW index found {len(found)} of {k}"
    return Near(_compare(run, where, params, sql.SQL(EXACT)), "exact", how, EXACT_ROWS, capped=True)


def _compare(
    run: Recorder, where: sql.Composed, params: dict[str, Any], distance: sql.SQL
) -> list[tuple[UUID, float]]:
    """(id, similarity) of the k nearest, most similar first."""
    rows = run(
        sql.SQL(NEAREST).format(distance=distance, where=where),
        params,
    )
    found = [(row["id"], row["score"]) for row in rows]
    return sorted(found, key=lambda item: -item[1])  # an iterative scan's order is nearly right


class Matching(NamedTuple):
    found: list[tuple[UUID, float]]  #: (id, rank), best first
    how: str
    matches: int
    capped: bool


def matching(run: Recorder, query: str, filters: Filters, k: int, words: str = ALL_WORDS) -> Matching:
    """The k that match the words best, among the RANKED_ROWS first that match at all."""
    rows = run(
        sql.SQL(MATCHING).format(where=candidates(filters, None), words=sql.SQL(words)),
        {**params_of(filters), "query": query, "k": k, "most": RANKED_ROWS},
    )
    matches = rows[0]["matches"] if rows else 0
    how = f"{matches:,} {'row matches' if matches == 1 else 'rows match'}"
    capped = matches >= RANKED_ROWS
    if capped:
        how = f"ranked among the first {matches:,} rows that match"
    return Matching([(row["id"], float(row["rank"])) for row in rows], how, matches, capped)


def read(
    run: Recorder,
    found: Sequence[tuple[UUID, float]],
    words: str,
    vector: Vectors | None = None,
    models: list[str] | None = None,
) -> list[tuple[Hit, float]]:
    """The rows behind the ids, in their order, each with its number; what was deleted since is missing.

    `words` are marked; with a vector the rows carry their similarity to it, if their model is one of these.
    """
    params: dict[str, Any] = {"ids": [memory_id for memory_id, _ in found]}
    columns = [sql.SQL(COLUMNS)]
    if words:
        columns.append(sql.SQL(MARKED))
        params |= {"words": words, "most": LONGEST_MARKED}
    if vector is not None:
        columns.append(sql.SQL(SIMILARITY))
        params |= {"q": vector, "models": models}
    rows = run(sql.SQL(ROWS).format(sql.SQL(",\n    ").join(columns)), params)
    hits = {row["id"]: _hit(row) for row in rows}
    return [(hits[memory_id], number) for memory_id, number in found if memory_id in hits]


def _hit(row: dict[str, Any]) -> Hit:
    texts = {name: row[name] or "" for name in ("content", "agent_name", "document_name")}
    marked = row.pop("marked", "")
    words = spans(marked, texts["content"]) if marked else ()
    return Hit(**{"similarity": None, **row, **texts, "words": words})


def is_statement_timeout(error: Exception) -> bool:
    """Whether a database error is the statement timeout of a search."""
    return getattr(getattr(error, "__cause__", None), "sqlstate", "") == "57014"
