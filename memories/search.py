"""Search by meaning, by keyword, or by both.

Routing. An index scan that filters afterwards misses rows, and the planner may choose it where
reading every vector is both exact and faster. So the route is chosen here: up to EXACT_ROWS
candidates are compared one by one; beyond that the HNSW index answers, with iterative scans, and
whenever it finds fewer than k the search is repeated exactly. docs/DECISIONS.md has the figures.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from django.conf import settings
from django.db import transaction
from psycopg import sql
from psycopg.rows import dict_row

from memories.fusion import fuse
from memories.highlight import LONGEST_MARKED, Span, spans
from memories.models import EXTERNAL_MODEL
from memories.pg import vector_cursor
from memories.providers import Provider, ProviderError, ProviderUnavailableError
from memories.statements import Recorder
from memories.vectors import Vectors

#: Each with its name on the page.
MODES = {"semantic": "by meaning", "keyword": "by keyword", "hybrid": "hybrid"}

#: Characters: what a model reads of a query, and what fits into an address percent-encoded.
LONGEST_QUERY = 700
MOST_RESULTS = 200
DEFAULT_RESULTS = 10
#: Candidates up to which an exact comparison is used.
EXACT_ROWS = 10_000
#: hnsw.ef_search: candidates kept while walking the graph; at least twice k, pgvector's limit is 1000.
EF_SEARCH = 100
#: Results taken from each side of a hybrid search before they are fused.
FUSED_DEPTH = 50
#: Rows that match a keyword search up to which they are ranked: a word that is everywhere must not cost more.
RANKED_ROWS = 10_000
#: Milliseconds that one statement of a search may take.
STATEMENT_TIMEOUT = 10_000

COUNTED = """
SELECT count(*) AS n FROM (
    SELECT 1 FROM {}
    LIMIT %(cap)s
) AS capped
"""
#: The distance is computed once a row, and made a similarity for k of them only.
NEAREST = """
SELECT id, 1 - distance AS score FROM (
    SELECT m.id, {distance} AS distance FROM {where}
    ORDER BY distance LIMIT %(k)s
) AS nearest
"""
MATCHING = """
SELECT id, rank, count(*) OVER () AS matches FROM (
    SELECT m.id, ts_rank_cd(m.content_tsv, {words}) AS rank FROM {where}
    AND m.content_tsv @@ {words}
    LIMIT %(most)s
) AS matching
ORDER BY rank DESC, id LIMIT %(k)s
"""
#: + 0 keeps the planner off the index: exact stays exact.
EXACT = "(m.embedding <=> %(q)s) + 0"
#: A keyword search wants all of the words. A hybrid one takes any of them, or a question would find nothing,
#: unless a word is to be left out (!).
ALL_WORDS = "websearch_to_tsquery('english', %(query)s)"
ANY_WORD = f"""CASE WHEN strpos({ALL_WORDS}::text, '!') > 0 THEN {ALL_WORDS}
    ELSE replace({ALL_WORDS}::text, ' & ', ' | ')::tsquery END"""
COLUMNS = """m.id, m.content, m.metadata, m.agent_id, m.document_id, m.position, m.created_at,
    m.embedding_state AS state, a.name AS agent_name, d.name AS document_name"""
#: chr(1) and chr(2) are highlight.START and STOP.
MARKED = """ts_headline('english', translate(left(m.content, %(most)s), chr(1) || chr(2), ''),
    websearch_to_tsquery('english', %(words)s),
    'HighlightAll=true, StartSel=' || chr(1) || ', StopSel=' || chr(2)) AS marked"""
SIMILARITY = """CASE WHEN m.embedding_model = ANY (%(models)s)
    THEN 1 - (m.embedding <=> %(q)s) END AS similarity"""
ROWS = """
SELECT {}
FROM agents.memories AS m
LEFT JOIN agents.agents AS a ON a.id = m.agent_id
LEFT JOIN agents.documents AS d ON d.id = m.document_id
WHERE m.id = ANY (%(ids)s)
"""


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
    """One result.

    `similarity` is 1 - cosine distance, None where vectors were not compared; `rank` is PostgreSQL's
    ts_rank_cd, None where words were not. In a hybrid search `place_by_meaning` and `place_by_keyword`
    (from 1) tell where each of the two had it, and `score` is what they were fused to. `words` are the
    (start, end) of the query's words in `content`.
    """

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
    created_at: datetime | None = None
    rank: float | None = None
    score: float | None = None
    place_by_meaning: int | None = None
    place_by_keyword: int | None = None
    words: tuple[Span, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """What the command line prints."""
        return {
            "id": str(self.id),
            "content": self.content,
            "similarity": self.similarity,
            "metadata": self.metadata,
        }


@dataclass(frozen=True)
class Timing:
    """Milliseconds of the parts: embedding the query, finding the ids, reading their rows."""

    embedding: float
    searching: float
    reading: float

    @property
    def total(self) -> float:
        return self.embedding + self.searching + self.reading


@dataclass(frozen=True)
class SearchResult:
    """Hits in order, and how they were found.

    `route` is exact, hnsw, keyword or hybrid, `how` the same in words. `candidates` counts the vectors
    that were compared (up to EXACT_ROWS, beyond that `candidates_capped`), or the rows that match the
    words (up to RANKED_ROWS). `note` is a sentence when something was not as asked; `sql` what ran, for psql.
    """

    hits: list[Hit]
    route: str
    how: str
    model: str
    timing: Timing
    candidates: int
    candidates_capped: bool
    note: str = ""
    sql: str = ""

    @property
    def milliseconds(self) -> float:
        return self.timing.total


def searched_models(provider: Provider) -> list[str]:
    """The models whose vectors compare with the provider's: its own, and external ones when so declared."""
    same = provider.model == settings.ARC_EXTERNAL_MODEL
    return [provider.model, EXTERNAL_MODEL] if same else [provider.model]


def search(
    query: str, provider: Provider, *, filters: Filters, k: int = DEFAULT_RESULTS, mode: str = "semantic"
) -> SearchResult:
    """The k memories nearest in meaning to `query`, never fewer where k exist.

    mode "semantic" compares vectors of the provider's model, "keyword" asks the full-text index,
    "hybrid" does both and fuses their orders (memories.fusion). When the query's own vector does not
    come within ARC_QUERY_DEADLINE the answer is by keyword and `note` says so. Raises SearchInputError
    for input that cannot be searched.
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
    if mode not in MODES:
        raise SearchInputError(f"There is no mode {mode!r}; {', '.join(MODES)} are the modes.")
    if mode == "keyword":
        return _by_keyword(query, filters, k, 0.0)
    started = time.monotonic()
    try:
        vector = provider.embed_query(query, deadline=settings.ARC_QUERY_DEADLINE)
    except ProviderError as error:
        waited = _since(started)
        note = f"Searched by keyword instead of meaning: {error}"
        away = isinstance(error, ProviderUnavailableError)
        why = "did not answer in time" if away else "gave no vector for the query"
        return _by_keyword(query, filters, k, waited, note=note, because=f", because the model {why}")
    embedding = _since(started)
    models = searched_models(provider)
    if mode == "hybrid":
        return _by_both(query, vector, models, filters, k, embedding)
    return by_vector(vector, models, filters, k, words=query, embedding=embedding, keep_sql=True)


def by_vector(
    vector: Vectors,
    models: list[str],
    filters: Filters,
    k: int,
    *,
    words: str = "",
    embedding: float = 0.0,
    keep_sql: bool = False,
) -> SearchResult:
    """The k memories nearest to a vector of shape (DIMENSIONS,), among vectors of `models`.

    `words` are marked in the hits; `embedding` is the time in milliseconds that making the vector took;
    `keep_sql` fills `SearchResult.sql`.
    """
    started = time.monotonic()
    with _statements() as run:
        near = _nearest(run, vector, models, filters, k)
        searching, started = _since(started), time.monotonic()
        hits = [replace(hit, similarity=similarity) for hit, similarity in _read(run, near.found, words)]
        return SearchResult(
            hits=hits,
            route=near.route,
            how=near.how,
            model=models[0],
            timing=Timing(embedding, searching, _since(started)),
            candidates=near.candidates,
            candidates_capped=near.capped,
            sql=run.text if keep_sql else "",
        )


def _by_keyword(
    query: str, filters: Filters, k: int, embedding: float, *, note: str = "", because: str = ""
) -> SearchResult:
    started = time.monotonic()
    with _statements() as run:
        matching = _matching(run, query, filters, k)
        searching, started = _since(started), time.monotonic()
        hits = [replace(hit, rank=rank) for hit, rank in _read(run, matching.found, query)]
        return SearchResult(
            hits=hits,
            route="keyword",
            how=f"keyword{because}, {matching.how}",
            model="",
            timing=Timing(embedding, searching, _since(started)),
            candidates=matching.matches,
            candidates_capped=matching.matches >= RANKED_ROWS,
            note=note,
            sql=run.text,
        )


def _by_both(
    query: str, vector: Vectors, models: list[str], filters: Filters, k: int, embedding: float
) -> SearchResult:
    started = time.monotonic()
    depth = max(k, FUSED_DEPTH)
    with _statements() as run:
        # First the words: the settings that the index needs would be in the way of their plan.
        matching = _matching(run, query, filters, depth, ANY_WORD)
        near = _nearest(run, vector, models, filters, depth)
        meant, written = ([memory_id for memory_id, _ in one] for one in (near.found, matching.found))
        fused = fuse(meant, written)[:k]
        searching, started = _since(started), time.monotonic()
        by_meaning, by_keyword = ({id_: n for n, id_ in enumerate(one, 1)} for one in (meant, written))
        ranks = dict(matching.found)
        hits = [
            replace(
                hit,
                rank=ranks.get(hit.id),
                score=score,
                place_by_meaning=by_meaning.get(hit.id),
                place_by_keyword=by_keyword.get(hit.id),
            )
            for hit, score in _read(run, fused, query, vector, models)
        ]
        sides = f"{len(meant)} by meaning ({near.how}) and {len(written)} by any word ({matching.how})"
        return SearchResult(
            hits=hits,
            route="hybrid",
            how=f"hybrid of {sides}",
            model=models[0],
            timing=Timing(embedding, searching, _since(started)),
            candidates=near.candidates,
            candidates_capped=near.capped,
            sql=run.text,
        )


def _since(started: float) -> float:
    """Milliseconds."""
    return (time.monotonic() - started) * 1000


@contextmanager
def _statements() -> Iterator[Recorder]:
    """One transaction with the time limit of a search."""
    with transaction.atomic(), vector_cursor(dict_row) as cursor:
        run = Recorder(cursor)
        run(sql.SQL("SET LOCAL statement_timeout = {}").format(STATEMENT_TIMEOUT))
        yield run


def candidates(filters: Filters, models: Iterable[str] | None) -> sql.Composed:
    """The part between FROM and ORDER BY: rows with vectors of these models, or of any content (None)."""
    conditions = []
    if models is not None:
        conditions += ["m.embedding IS NOT NULL", "m.embedding_model = ANY (%(models)s)"]
    if filters.agent_id:
        conditions.append("m.agent_id = %(agent_id)s")
    if filters.agent_type:
        conditions.append("m.agent_id IN (SELECT id FROM agents.agents WHERE type = %(agent_type)s)")
    if filters.metadata:
        conditions.append("m.metadata @> %(metadata)s::jsonb")
    joined = sql.SQL("\n    AND ").join(sql.SQL(condition) for condition in conditions or ["true"])
    return sql.SQL("agents.memories AS m\n    WHERE {}").format(joined)


def params_of(filters: Filters) -> dict[str, Any]:
    """The parameters that `candidates` names."""
    return {
        "agent_id": filters.agent_id,
        "agent_type": filters.agent_type,
        "metadata": json.dumps(filters.metadata),
    }


class _Near(NamedTuple):
    found: list[tuple[UUID, float]]  #: (id, similarity), most similar first
    route: str
    how: str
    candidates: int
    capped: bool


def _nearest(run: Recorder, vector: Vectors, models: list[str], filters: Filters, k: int) -> _Near:
    """The k nearest, by the route that the number of candidates asks for."""
    where = candidates(filters, models)
    params = {**params_of(filters), "models": models, "q": vector, "k": k, "cap": EXACT_ROWS + 1}
    count = run(sql.SQL(COUNTED).format(where), params)[0]["n"]
    if count <= EXACT_ROWS:
        found = _compare(run, where, params, sql.SQL(EXACT))
        return _Near(
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
        return _Near(found, "hnsw", how, EXACT_ROWS, capped=True)
    how = f"exact, {many}, since the HNSW index found {len(found)} of {k}"
    return _Near(_compare(run, where, params, sql.SQL(EXACT)), "exact", how, EXACT_ROWS, capped=True)


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


class _Matching(NamedTuple):
    found: list[tuple[UUID, float]]  #: (id, rank), best first
    how: str
    matches: int


def _matching(run: Recorder, query: str, filters: Filters, k: int, words: str = ALL_WORDS) -> _Matching:
    """The k that match the words best, among the RANKED_ROWS first that match at all."""
    rows = run(
        sql.SQL(MATCHING).format(where=candidates(filters, None), words=sql.SQL(words)),
        {**params_of(filters), "query": query, "k": k, "most": RANKED_ROWS},
    )
    matches = rows[0]["matches"] if rows else 0
    how = f"{matches:,} {'row matches' if matches == 1 else 'rows match'}"
    if matches >= RANKED_ROWS:
        how = f"ranked among the first {matches:,} rows that match"
    return _Matching([(row["id"], float(row["rank"])) for row in rows], how, matches)


def _read(
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
