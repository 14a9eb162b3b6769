"""Search by meaning, with keyword search to fall back on.

Routing. An index scan that filters afterwards misses rows, and the planner may choose it where
reading every vector is both exact and faster. So the route is chosen here: up to EXACT_ROWS
candidates are compared one by one; beyond that the HNSW index answers, with iterative scans, and
whenever it finds fewer than k the search is repeated exactly. docs/DECISIONS.md has the figures.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import transaction
from psycopg import sql
from psycopg.rows import dict_row

from memories.models import EXTERNAL_MODEL
from memories.pg import vector_cursor
from memories.providers import Provider, ProviderError
from memories.vectors import Vectors

#: Characters: what a model reads of a query, and what fits into an address percent-encoded.
LONGEST_QUERY = 700
MOST_RESULTS = 200
#: Candidates up to which an exact comparison is used.
EXACT_ROWS = 10_000
#: hnsw.ef_search: candidates kept while walking the graph; at least twice k, pgvector's limit is 1000.
EF_SEARCH = 100
#: Milliseconds that one statement of a search may take.
STATEMENT_TIMEOUT = 10_000


class SearchInputError(ValueError):
    """The search cannot be made as asked; the message says what to change."""


@dataclass(frozen=True)
class Filters:
    """What results are taken from: one agent or all, agents of one type, metadata that contains this."""

    agent_id: UUID | None = None
    agent_type: str = ""
    metadata: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Hit:
    """One result. `similarity` is 1 - cosine distance, None from a keyword search; `rank` orders those."""

    id: UUID
    content: str
    similarity: float | None
    metadata: Any
    agent_id: UUID | None
    agent_name: str
    document_id: UUID | None
    document_name: str
    position: int | None
    state: str
    rank: float | None = None

    def as_json(self) -> dict[str, Any]:
        """What the command line prints."""
        return {
            "id": str(self.id),
            "content": self.content,
            "similarity": self.similarity,
            "metadata": self.metadata,
        }


@dataclass(frozen=True)
class SearchResult:
    """Hits in order; `route` is exact, hnsw or keyword; `note` a sentence when something was not as asked."""

    hits: list[Hit]
    route: str
    model: str
    milliseconds: float
    candidates: int
    candidates_capped: bool
    note: str = ""


def searched_models(provider: Provider) -> list[str]:
    """The models whose vectors compare with the provider's: its own, and external ones when so declared."""
    same = provider.model == settings.ARC_EXTERNAL_MODEL
    return [provider.model, EXTERNAL_MODEL] if same else [provider.model]


def search(
    query: str, provider: Provider, *, filters: Filters, k: int = 10, mode: str = "semantic"
) -> SearchResult:
    """The k memories nearest in meaning to `query`, never fewer where k exist.

    mode "semantic" compares vectors of the provider's model; when the query's own vector does not come
    within ARC_QUERY_DEADLINE the answer is by keyword and `note` says so. mode "keyword" asks the
    full-text index. Raises SearchInputError for input that cannot be searched.
    """
    query = query.strip()
    if not query:
        raise SearchInputError("Type what you are looking for.")
    if len(query) > LONGEST_QUERY:
        raise SearchInputError(f"The query is {len(query)} characters long; {LONGEST_QUERY} are the most.")
    if "\x00" in query:
        raise SearchInputError("The query holds a zero byte; remove it.")
    if not 1 <= k <= MOST_RESULTS:
        raise SearchInputError(f"k is {k}; it must be from 1 to {MOST_RESULTS}.")
    started = time.monotonic()
    if mode == "keyword":
        return _by_keyword(query, filters, k, started)
    try:
        vector = provider.embed_query(query, deadline=settings.ARC_QUERY_DEADLINE)
    except ProviderError as error:
        return _by_keyword(
            query, filters, k, started, note=f"Searched by keyword instead of meaning: {error}"
        )
    return by_vector(vector, searched_models(provider), filters, k, started)


def by_vector(
    vector: Vectors, models: list[str], filters: Filters, k: int, started: float | None = None
) -> SearchResult:
    """The k memories nearest to a vector of shape (DIMENSIONS,), among vectors of `models`."""
    started = time.monotonic() if started is None else started
    where = _where(filters, models)
    params = {**_params(filters), "models": models, "q": vector, "k": k, "cap": EXACT_ROWS + 1}
    with transaction.atomic(), vector_cursor(dict_row) as cursor:
        cursor.execute(sql.SQL("SET LOCAL statement_timeout = {}").format(STATEMENT_TIMEOUT))
        cursor.execute(
            sql.SQL("SELECT count(*) AS n FROM (SELECT 1 FROM {} LIMIT %(cap)s) AS capped").format(where),
            params,
        )
        candidates = cursor.fetchall()[0]["n"]
        route = "exact" if candidates <= EXACT_ROWS else "hnsw"
        found = _nearest(cursor, where, params, route, k)
        if route == "hnsw" and len(found) < k:
            route, found = "exact", _nearest(cursor, where, params, "exact", k)
        hits = _hits(cursor, found, "similarity")
    return SearchResult(
        hits=hits,
        route=route,
        model=models[0],
        milliseconds=(time.monotonic() - started) * 1000,
        candidates=min(candidates, EXACT_ROWS),
        candidates_capped=candidates > EXACT_ROWS,
    )


def _where(filters: Filters, models: Iterable[str] | None) -> sql.Composed:
    """FROM … WHERE …: the candidates of a search; of these models' vectors, or of any content."""
    conditions = []
    if models is not None:
        conditions += ["m.embedding IS NOT NULL", "m.embedding_model = ANY (%(models)s)"]
    if filters.agent_id:
        conditions.append("m.agent_id = %(agent_id)s")
    if filters.agent_type:
        conditions.append("m.agent_id IN (SELECT id FROM agents.agents WHERE type = %(agent_type)s)")
    if filters.metadata:
        conditions.append("m.metadata @> %(metadata)s::jsonb")
    joined = sql.SQL(" AND ").join(sql.SQL(condition) for condition in conditions or ["true"])
    return sql.SQL("agents.memories AS m WHERE {}").format(joined)


def _params(filters: Filters) -> dict[str, Any]:
    return {
        "agent_id": filters.agent_id,
        "agent_type": filters.agent_type,
        "metadata": json.dumps(filters.metadata),
    }


def _nearest(
    cursor: Any, where: sql.Composed, params: dict[str, Any], route: str, k: int
) -> list[tuple[UUID, float]]:
    """(id, similarity) of the k nearest, most similar first."""
    if route == "hnsw":
        cursor.execute(
            sql.SQL(
                "SET LOCAL hnsw.iterative_scan = 'relaxed_order'; SET LOCAL hnsw.ef_search = {}; "
                # The planner would sometimes read and sort everything, which is the other route.
                "SET LOCAL enable_sort = off"
            ).format(min(1000, max(EF_SEARCH, 2 * k)))
        )
        distance = sql.SQL("m.embedding <=> %(q)s")
    else:
        # + 0 keeps the planner off the index: exact stays exact.
        distance = sql.SQL("(m.embedding <=> %(q)s) + 0")
    # The distance is computed once a row, and made a similarity for k of them only.
    cursor.execute(
        sql.SQL(
            "SELECT id, 1 - distance AS score FROM "
            "(SELECT m.id, {distance} AS distance FROM {where} ORDER BY distance LIMIT %(k)s) AS nearest"
        ).format(distance=distance, where=where),
        params,
    )
    found = [(row["id"], row["score"]) for row in cursor.fetchall()]
    return sorted(found, key=lambda item: -item[1])  # an iterative scan's order is nearly right


def _by_keyword(query: str, filters: Filters, k: int, started: float, note: str = "") -> SearchResult:
    params = {**_params(filters), "query": query, "k": k}
    with transaction.atomic(), vector_cursor(dict_row) as cursor:
        cursor.execute(sql.SQL("SET LOCAL statement_timeout = {}").format(STATEMENT_TIMEOUT))
        cursor.execute(
            sql.SQL(
                """
                SELECT m.id, ts_rank_cd(m.content_tsv, websearch_to_tsquery('english', %(query)s)) AS score
                FROM {} AND m.content_tsv @@ websearch_to_tsquery('english', %(query)s)
                ORDER BY score DESC, m.id LIMIT %(k)s
                """
            ).format(_where(filters, None)),
            params,
        )
        found = [(row["id"], row["score"]) for row in cursor.fetchall()]
        hits = _hits(cursor, found, "rank")
    return SearchResult(
        hits=hits,
        route="keyword",
        model="",
        milliseconds=(time.monotonic() - started) * 1000,
        candidates=len(hits),
        candidates_capped=False,
        note=note,
    )


def _hits(cursor: Any, found: list[tuple[UUID, float]], score: str) -> list[Hit]:
    """The rows behind the ids, in their order; `score` names the field that takes the number."""
    cursor.execute(
        """
        SELECT m.id, m.content, m.metadata, m.agent_id, m.document_id, m.position, m.embedding_state AS state,
               a.name AS agent_name, d.name AS document_name
        FROM agents.memories AS m
        LEFT JOIN agents.agents AS a ON a.id = m.agent_id
        LEFT JOIN agents.documents AS d ON d.id = m.document_id
        WHERE m.id = ANY (%s)
        """,
        [[memory_id for memory_id, _ in found]],
    )
    rows = {row["id"]: row for row in cursor.fetchall()}
    hits = []
    for memory_id, number in found:
        if (row := rows.get(memory_id)) is None:
            continue  # deleted since
        texts = {name: row[name] or "" for name in ("content", "agent_name", "document_name")}
        values: dict[str, Any] = {**row, **texts, "similarity": None, score: float(number)}
        hits.append(Hit(**values))
    return hits


def is_statement_timeout(error: Exception) -> bool:
    """Whether a database error is the statement timeout of a search."""
    return getattr(getattr(error, "__cause__", None), "sqlstate", "") == "57014"
