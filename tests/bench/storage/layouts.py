"""The ways to store the table that are compared, and the table's own statements."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ParamSpec

import numpy as np
import numpy.typing as npt
import psycopg

Vectors = npt.NDArray[np.float32]
Connection = psycopg.Connection[tuple[Any, ...]]
P = ParamSpec("P")


SCHEMA = "bench_storage"
DIMENSIONS = 1536
#: The rows of one agent that one transaction of the ingestion writes together.
BATCH = 16
#: Ten agents of 1,000 rows and four of 10,000.
AGENTS = (1_000,) * 10 + (10_000,) * 4
SMALL, LARGE = 0, 10
THRESHOLD_AGENTS = (30_000, 10_000, 3_000) + (1_000,) * 7
HNSW_AGENTS = (10_000, 10_000)
QUERIES = 20
KEYWORDS = ("exception handler", '"class attribute" or metaclass', "iterator -generator")

TABLE = """
CREATE TABLE {name} (
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    agent_id uuid,
    content text,
    embedding vector(1536),
    metadata jsonb,
    created_at timestamptz DEFAULT now(),
    state varchar(16) NOT NULL DEFAULT 'ready',
    content_tsv tsvector GENERATED ALWAYS AS (to_tsvector('english', coalesce(content, ''))) STORED
    {extra}
) WITH (autovacuum_enabled = false)
"""
INDEXES = """
ALTER TABLE {name} ADD PRIMARY KEY (id);
CREATE INDEX {name}_agent ON {name} (agent_id);
CREATE INDEX {name}_state ON {name} (agent_id, state);
CREATE INDEX {name}_newest ON {name} (agent_id, created_at DESC, id DESC);
CREATE INDEX {name}_words ON {name} USING gin (content_tsv)
"""
HALF = ", embedding_half halfvec(1536) GENERATED ALWAYS AS (embedding::halfvec(1536)) STORED"


@dataclass(frozen=True)
class Layout:
    """One way to store the table: `alter` runs on the empty table; `half` adds a halfvec column to search.

    `cast` leaves the table alone and puts the HNSW index over `embedding::halfvec(1536)`.
    """

    key: str
    title: str
    alter: tuple[str, ...] = ()
    half: bool = False
    cast: bool = False
    order: str = "interleaved"

    @property
    def table(self) -> str:
        return f"memories_{self.key.lower().replace(' ', '_')}" + (
            "_clustered" if self.order == "clustered" else ""
        )

    def distance(self, *, by_index: bool) -> str:
        """The distance to the bound query vector (float32 in binary), in the index's spelling or not."""
        if self.half:
            return "embedding_half <=> %b::vector::halfvec(1536)"
        if self.cast and by_index:
            return "(embedding::halfvec(1536)) <=> %b::vector::halfvec(1536)"
        return "embedding <=> %b::vector"

    @property
    def hnsw(self) -> str:
        if self.half:
            return "embedding_half halfvec_cosine_ops"
        return "(embedding::halfvec(1536)) halfvec_cosine_ops" if self.cast else "embedding vector_cosine_ops"


MAIN = "ALTER TABLE {name} ALTER embedding SET STORAGE MAIN"
PLAIN = "ALTER TABLE {name} ALTER embedding SET STORAGE PLAIN"
HALF_MAIN = "ALTER TABLE {name} ALTER embedding_half SET STORAGE MAIN"
WHOLE_PAGE = "ALTER TABLE {name} SET (toast_tuple_target = 8160)"
HALF_PAGE = "ALTER TABLE {name} SET (toast_tuple_target = 4080)"

LAYOUTS = (
    Layout("A", "default (vector EXTERNAL)"),
    Layout("B", "MAIN, toast_tuple_target 8160", (MAIN, WHOLE_PAGE)),
    Layout("C", "PLAIN", (PLAIN,)),
    Layout("D1", "+ halfvec MAIN, target 8160", (HALF_MAIN, WHOLE_PAGE), half=True),
    Layout("D2", "+ halfvec MAIN, target 4080", (HALF_MAIN, HALF_PAGE), half=True),
    Layout("E", "MAIN, default target", (MAIN,)),
)
#: Tables like B's; only the vector index differs.
CAST = Layout("B cast", "B, HNSW over the cast to halfvec", (MAIN, WHOLE_PAGE), cast=True)
