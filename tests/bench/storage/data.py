"""Made vectors and texts, and loading them in the order they would arrive."""

from __future__ import annotations

import pydoc_data.topics
import random
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from psycopg.types.json import Jsonb

from tests.bench.storage.connection import progress, run
from tests.bench.storage.layouts import BATCH, DIMENSIONS, HALF, INDEXES, TABLE, Connection, Layout, Vectors


def make_vectors(number: int, seed: int) -> Vectors:
    """Unit vectors, shape (number, 1536), with the low inner dimension that text embeddings have.

    200 topics in 64 latent dimensions, spread, projected up, and a little noise. Plain Gaussian vectors
    in 1536 dimensions are all equally far apart, and tight clusters are found with recall 1: on neither
    can an index be judged. Topics are the same for every seed: queries (another seed) come from the
    same world.
    """
    world = np.random.default_rng(1)
    topics = world.standard_normal((200, 64), dtype=np.float32)
    up = world.standard_normal((64, DIMENSIONS), dtype=np.float32)
    source = np.random.default_rng(seed)
    made = []
    for start in range(0, number, 5_000):
        size = min(5_000, number - start)
        latent = topics[source.integers(0, 200, size)]
        latent = latent + 1.2 * source.standard_normal((size, 64), dtype=np.float32)
        block = latent @ up + 4 * source.standard_normal((size, DIMENSIONS), dtype=np.float32)
        made.append(block / np.linalg.norm(block, axis=1, keepdims=True))
    return np.concatenate(made).astype(np.float32)


def make_texts(number: int) -> list[str]:
    """Texts of about 900 characters: three windows each of the prose that ships with Python."""
    prose = " ".join(" ".join(pydoc_data.topics.topics.values()).split())
    source = random.Random(2)

    def window() -> str:
        start = prose.index(" ", source.randrange(len(prose) - 400)) + 1
        return prose[start : start + 300]

    return [f"{window()} {window()} {window()}" for _ in range(number)]


@dataclass
class Data:
    """Rows in the order in which ingestion makes them: batches of agents of these sizes, mixed."""

    vectors: Vectors
    texts: list[str]
    sizes: tuple[int, ...]
    agents: list[uuid.UUID] = field(init=False)
    owners: list[int] = field(init=False)

    def __post_init__(self) -> None:
        source = random.Random(3)
        self.agents = [uuid.UUID(int=source.getrandbits(128), version=4) for _ in self.sizes]
        batches = [
            [owner] * min(BATCH, size - start)
            for owner, size in enumerate(self.sizes)
            for start in range(0, size, BATCH)
        ]
        source.shuffle(batches)
        self.owners = [owner for batch in batches for owner in batch]

    def rows(self, order: str = "interleaved") -> Iterator[tuple[Any, ...]]:
        """Rows for COPY in physical order: "interleaved", or "clustered" by agent."""
        positions = list(range(len(self.owners)))
        if order == "clustered":
            positions.sort(key=lambda position: self.owners[position])
        start = datetime(2026, 1, 1, tzinfo=UTC)
        for position in positions:
            yield (
                uuid.uuid4(),
                self.agents[self.owners[position]],
                self.texts[position],
                self.vectors[position],
                Jsonb({"source": f"doc-{position // 40}.md", "position": position % 40, "tags": ["ops"]}),
                start + timedelta(seconds=position),
                "stale" if position % 50 == 0 else "ready",
            )


COPY = (
    "COPY {name} (id, agent_id, content, embedding, metadata, created_at, state) FROM STDIN (FORMAT BINARY)"
)


def copy_rows(db: Connection, table: str, rows: Iterator[tuple[Any, ...]]) -> None:
    with (
        db.cursor() as cursor,
        cursor.copy(COPY.format(name=table)) as copy,
    ):
        copy.set_types(["uuid", "uuid", "text", "vector", "jsonb", "timestamptz", "varchar"])
        for row in rows:
            copy.write_row(row)


def load(db: Connection, layout: Layout, data: Data) -> str:
    """Makes the layout's table with all rows and indexes, vacuumed; its name."""
    name = layout.table
    progress(f"loading {name}, {len(data.owners):,} rows {layout.order}")
    run(db, f"DROP TABLE IF EXISTS {name}")
    run(db, TABLE.format(name=name, extra=HALF if layout.half else ""))
    for statement in layout.alter:
        run(db, statement.format(name=name))
    copy_rows(db, name, data.rows(layout.order))
    run(db, INDEXES.format(name=name))
    run(db, f"VACUUM (ANALYZE) {name}")
    return name
