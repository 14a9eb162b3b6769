"""A search from the query to its hits: by meaning, by keyword, or by both."""

from __future__ import annotations

import time
from dataclasses import replace

from django.conf import settings

from memories.fusion import fuse
from memories.models import EXTERNAL_MODEL
from memories.providers import Provider, ProviderError, ProviderUnavailableError
from memories.search.query import ANY_WORD, Filters
from memories.search.result import SearchResult, Timing
from memories.search.routes import matching, nearest, read, statements
from memories.vectors import Vectors

#: Each with its name on the page.
MODES = {"semantic": "by meaning", "keyword": "by keyword", "hybrid": "hybrid"}

#: Characters: what a model reads of a query, and what fits into an address percent-encoded.
LONGEST_QUERY = 700
MOST_RESULTS = 200
DEFAULT_RESULTS = 10
#: Results taken from each side of a hybrid search before they are fused.
FUSED_DEPTH = 50


class SearchInputError(ValueError):
    """The search cannot be made as asked; the message says what to change."""


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
    with statements() as run:
        near = nearest(run, vector, models, filters, k)
        searching, started = _since(started), time.monotonic()
        hits = [replace(hit, similarity=similarity) for hit, similarity in read(run, near.found, words)]
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
    with statements() as run:
        matched = matching(run, query, filters, k)
        searching, started = _since(started), time.monotonic()
        hits = [replace(hit, rank=rank) for hit, rank in read(run, matched.found, query)]
        return SearchResult(
            hits=hits,
            route="keyword",
            how=f"keyword{because}, {matched.how}",
            model="",
            timing=Timing(embedding, searching, _since(started)),
            candidates=matched.matches,
            candidates_capped=matched.capped,
            note=note,
            sql=run.text,
        )


def _by_both(
    query: str, vector: Vectors, models: list[str], filters: Filters, k: int, embedding: float
) -> SearchResult:
    started = time.monotonic()
    depth = max(k, FUSED_DEPTH)
    with statements() as run:
        # First the words: the settings that the index needs would be in the way of their plan.
        matched = matching(run, query, filters, depth, ANY_WORD)
        near = nearest(run, vector, models, filters, depth)
        meant, written = ([memory_id for memory_id, _ in one] for one in (near.found, matched.found))
        fused = fuse(meant, written)[:k]
        searching, started = _since(started), time.monotonic()
        by_meaning, by_keyword = ({id_: n for n, id_ in enumerate(one, 1)} for one in (meant, written))
        ranks = dict(matched.found)
        hits = [
            replace(
                hit,
                rank=ranks.get(hit.id),
                score=score,
                place_by_meaning=by_meaning.get(hit.id),
                place_by_keyword=by_keyword.get(hit.id),
            )
            for hit, score in read(run, fused, query, vector, models)
        ]
        sides = f"{len(meant)} by meaning ({near.how}) and {len(written)} by any word ({matched.how})"
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
