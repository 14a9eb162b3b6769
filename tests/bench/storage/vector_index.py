"""HNSW: building, recall, speed; where exact search gives way to it; rows too long for a page."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence

import numpy as np
import psycopg
from psycopg.types.json import Jsonb

from tests.bench.storage.connection import progress, run
from tests.bench.storage.data import Data, load
from tests.bench.storage.layouts import (
    HALF,
    HNSW_AGENTS,
    TABLE,
    THRESHOLD_AGENTS,
    Connection,
    Layout,
    Vectors,
)
from tests.bench.storage.measuring import interleave, milliseconds, plan_of, table
from tests.bench.storage.statements import exact_statement, hits, hnsw_statement, recall, searcher, setting
from tests.bench.storage.writes import measure_updates


def build_hnsw(db: Connection, layout: Layout) -> tuple[float, float]:
    """Builds the index; (seconds, megabytes)."""
    name = layout.table
    progress(f"building HNSW on {name}")
    seconds = milliseconds(run, db, f"CREATE INDEX {name}_hnsw ON {name} USING hnsw ({layout.hnsw})") / 1000
    size = run(db, "SELECT pg_relation_size(%s::regclass)", (f"{name}_hnsw",))[0][0]
    return seconds, size / 2**20


def measure_hnsw(
    db: Connection,
    layouts: Sequence[Layout],
    vectors: Vectors,
    texts: list[str],
    queries: Vectors,
    rounds: int,
) -> None:
    """HNSW over 20,000 rows: build, size, search, and what an UPDATE of metadata costs beside it."""
    data = Data(vectors[:20_000], texts[:20_000], HNSW_AGENTS)
    names = {layout.key: load(db, layout, data) for layout in layouts}
    built: dict[str, list[tuple[float, float]]] = {key: [] for key in names}
    for turn in range(2):
        for layout in layouts:
            name = names[layout.key]
            run(db, f"DROP INDEX IF EXISTS {name}_hnsw")
            built[layout.key].append(build_hnsw(db, layout))
        progress(f"HNSW builds, turn {turn}: done")
    cases: dict[str, Callable[[], object]] = {
        layout.key: searcher(db, hnsw_statement(layout, names[layout.key], filtered=False), None, queries)
        for layout in layouts
    }
    samples = interleave(cases, rounds, 20)
    base = samples[layouts[0].key]
    rows = []
    for layout in layouts:
        name = names[layout.key]
        truth = [hits(run(db, exact_statement(Layout("", ""), name, filtered=False), (q,))) for q in queries]
        found = [hits(run(db, hnsw_statement(layout, name, filtered=False), (q,))) for q in queries]
        seconds, size = min(built[layout.key])
        rows.append(
            [
                layout.key,
                f"{seconds:.1f}",
                f"{size:.0f}",
                f"{samples[layout.key].median:.2f}",
                samples[layout.key].against(base),
                f"{recall(found, truth):.3f}",
            ]
        )
    table(
        ["layout", "build s (best of 2)", "index MB", "search ms", "ratio", "recall@10"],
        rows,
        "HNSW on 20,000 rows, search over all of them, ef_search 40",
    )
    measure_updates(db, names, 3, "UPDATE of 1,000 rows' metadata with HNSW (20,000 rows)")
    for name in names.values():
        run(db, f"DROP TABLE {name}")


#: Title → (hnsw.ef_search, hnsw.iterative_scan).
HNSW_WAYS = {
    "ef 40, no iteration": ("40", "off"),
    "ef 40, strict": ("40", "strict_order"),
    "ef 40, relaxed": ("40", "relaxed_order"),
    "ef 100, relaxed": ("100", "relaxed_order"),
    "ef 200, relaxed": ("200", "relaxed_order"),
}


def measure_threshold(
    db: Connection,
    layouts: Sequence[Layout],
    vectors: Vectors,
    texts: list[str],
    queries: Vectors,
    rounds: int,
) -> None:
    """From how many rows of an agent on HNSW is worth it: time and recall@10 by agent size."""
    data = Data(vectors, texts, THRESHOLD_AGENTS)
    targets: list[tuple[str, uuid.UUID | None]] = [
        ("1,000", data.agents[3]),
        ("3,000", data.agents[2]),
        ("10,000", data.agents[1]),
        ("30,000", data.agents[0]),
        ("all 50,000", None),
    ]
    for layout in layouts:
        name = load(db, layout, data)
        seconds, size = build_hnsw(db, layout)
        run(db, f"VACUUM (ANALYZE) {name}")
        rows, plans = [], []
        for title, agent in targets:
            progress(f"threshold: {layout.key}, {title}")
            tail = () if agent is None else (agent,)
            exact = exact_statement(layout, name, filtered=agent is not None)
            near = hnsw_statement(layout, name, filtered=agent is not None)
            truth = [
                hits(run(db, exact_statement(Layout("", ""), name, filtered=agent is not None), (q, *tail)))
                for q in queries
            ]
            samples = interleave({"exact": searcher(db, exact, agent, queries)}, rounds, 3)
            cells = [f"{samples['exact'].median:.1f}"]
            for ef, iterate in HNSW_WAYS.values():
                # Without the sort only the vector index can deliver the order: that is the one to judge.
                with setting(db, hnsw__ef_search=ef, hnsw__iterative_scan=iterate, enable_sort="off"):
                    found = [hits(run(db, near, (q, *tail))) for q in queries]
                    spent = interleave({"hnsw": searcher(db, near, agent, queries)}, rounds, len(queries))
                cells.append(f"{spent['hnsw'].median:.1f} / {recall(found, truth):.2f}")
            with setting(db, hnsw__iterative_scan="relaxed_order"):
                found = [hits(run(db, near, (q, *tail))) for q in queries]
                own = interleave({"own": searcher(db, near, agent, queries)}, rounds, 5)["own"]
                plans.append(plan_of(db, near, (queries[0], *tail)))
            cells.append(f"{own.median:.1f} / {recall(found, truth):.2f}")
            rows.append([title, *cells, plans[-1].partition("Limit < ")[2]])
        table(
            ["rows of the agent", "exact ms", *HNSW_WAYS, "planner left alone", "its plan"],
            rows,
            f"Exact or HNSW, layout {layout.key} (index of {size:.0f} MB in {seconds:.0f} s); ms / recall@10",
        )
        run(db, f"DROP TABLE {name}")


def measure_oversize(db: Connection, layouts: Sequence[Layout], vectors: Vectors) -> None:
    """Rows that outgrow a page: does the INSERT fail, and what moves out of line."""
    noise = np.random.default_rng(4)
    words = ["".join(map(chr, noise.integers(97, 123, 7))) for _ in range(20_000)]
    padded = vectors[0].copy()
    padded[384:] = 0
    metadata = Jsonb({"notes": noise.bytes(5_000).hex()})
    cases: dict[str, tuple[str, Vectors, Jsonb]] = {
        "content 100 kB": (" ".join(words)[:100_000], vectors[0], Jsonb({})),
        "metadata 10 kB": (" ".join(words)[:900], vectors[0], metadata),
        "both": (" ".join(words)[:100_000], vectors[0], metadata),
        "vector of 384, padded": (" ".join(words)[:900], padded, Jsonb({})),
    }
    rows = []
    for layout in layouts:
        name = layout.table + "_oversize"
        run(db, TABLE.format(name=name, extra=HALF if layout.half else ""))
        for statement in layout.alter:
            run(db, statement.format(name=name))
        cells = []
        for content, vector, extra in cases.values():
            try:
                identity = run(
                    db,
                    f"INSERT INTO {name} (content, embedding, metadata) VALUES (%s, %b, %s) RETURNING id",
                    (content, vector, extra),
                )[0][0]
            except psycopg.Error as error:
                cells.append(f"fails: {str(error).splitlines()[0]}")
                continue
            columns = ["embedding", "content", "metadata", "content_tsv"] + ["embedding_half"] * layout.half
            states = run(
                db,
                "SELECT "
                + ", ".join(f"pg_column_toast_chunk_id({c}), pg_column_compression({c})" for c in columns)
                + f" FROM {name} WHERE id = %s",
                (identity,),
            )[0]
            outside = [c for c, chunk in zip(columns, states[::2], strict=True) if chunk is not None]
            packed = [c for c, method in zip(columns, states[1::2], strict=True) if method is not None]
            cells.append(f"out: {', '.join(outside) or 'none'}; compressed: {', '.join(packed) or 'none'}")
        rows.append([layout.key, *cells])
        run(db, f"DROP TABLE {name}")
    table(["layout", *cases], rows, "Rows larger than a page")
