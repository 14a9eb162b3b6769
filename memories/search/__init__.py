"""Search by meaning, by keyword, or by both.

`query` builds the SQL, `routes` chooses and runs it, `result` is what comes back, `answer` leads from the
query to the hits.
"""

from __future__ import annotations

from memories.search.answer import (
    DEFAULT_RESULTS,
    LONGEST_QUERY,
    MODES,
    MOST_RESULTS,
    SearchInputError,
    by_vector,
    search,
    searched_models,
)
from memories.search.query import Filters, candidates, params_of
from memories.search.result import Hit, SearchResult, Timing
from memories.search.routes import EXACT_ROWS, STATEMENT_TIMEOUT, is_statement_timeout

__all__ = [
    "DEFAULT_RESULTS",
    "EXACT_ROWS",
    "LONGEST_QUERY",
    "MODES",
    "MOST_RESULTS",
    "STATEMENT_TIMEOUT",
    "Filters",
    "Hit",
    "SearchInputError",
    "SearchResult",
    "Timing",
    "by_vector",
    "candidates",
    "is_statement_timeout",
    "params_of",
    "search",
    "searched_models",
]
