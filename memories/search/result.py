"""What a search gives: its hits, and how they were found."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from memories.highlight import Span


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
