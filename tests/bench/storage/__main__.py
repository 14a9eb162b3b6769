"""How agents.memories should store its vectors: layouts of one table, measured against each other.

    python -m tests.bench.storage DSN [--only reads,writes…] [--rounds 5]      (--help lists the parts)

DSN (or ARC_BENCH_DSN) is a libpq string of a scratch database that has the extension `vector`; the
role may create a schema. Everything happens in the schema `bench_storage`, which is dropped first and
last. The figures go to standard output as Markdown; progress goes to standard error. Runs are
interleaved (every layout in every round, in rotating order), so that a busy neighbour slows all of
them alike; what is printed is the median and, for ratios, the range over the rounds.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from tests.bench.storage.connection import connect, progress, run
from tests.bench.storage.data import Data, load, make_texts, make_vectors
from tests.bench.storage.layouts import AGENTS, CAST, LAYOUTS, QUERIES, SCHEMA, Connection, Layout
from tests.bench.storage.reads import measure_half_recall, measure_parallel, measure_reads, sizes
from tests.bench.storage.vector_index import measure_hnsw, measure_oversize, measure_threshold
from tests.bench.storage.writes import measure_updates, measure_writes

PARTS = ("reads", "parallel", "order", "writes", "hnsw", "threshold", "oversize")


def pick(keys: str) -> list[Layout]:
    """The layouts of a comma-separated list of keys; an unknown key ends in a sentence."""
    known = {layout.key: layout for layout in (*LAYOUTS, CAST)}
    wanted = [key.strip() for key in keys.split(",")]
    if unknown := set(wanted) - set(known):
        sys.exit(f"No such layout: {', '.join(sorted(unknown))}; there are {', '.join(known)}.")
    return [known[key] for key in wanted]


def main() -> None:
    parser = argparse.ArgumentParser(prog="tests.bench.storage", description=__doc__.partition("\n")[0])
    parser.add_argument("dsn", nargs="?", default=os.environ.get("ARC_BENCH_DSN"))
    parser.add_argument("--only", default=",".join(PARTS), help=f"parts, of {', '.join(PARTS)}")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of 4 timed reads each")
    parser.add_argument("--hnsw-layouts", default="A,B,B cast,D2,E")
    parser.add_argument("--threshold-layouts", default="A,B")
    options = parser.parse_args()
    parts = options.only.split(",")
    if not options.dsn:
        parser.error("no database: give a DSN or set ARC_BENCH_DSN.")
    if unknown := set(parts) - set(PARTS):
        parser.error(f"no such part: {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}.")

    hnsw_layouts, threshold_layouts = pick(options.hnsw_layouts), pick(options.threshold_layouts)

    db = connect(options.dsn)
    try:
        measure_parts(db, parts, options.rounds, hnsw_layouts, threshold_layouts)
    finally:
        run(db, f"DROP SCHEMA {SCHEMA} CASCADE")


def measure_parts(
    db: Connection,
    parts: Sequence[str],
    rounds: int,
    hnsw_layouts: Sequence[Layout],
    threshold_layouts: Sequence[Layout],
) -> None:
    """Makes the data and measures the parts asked for."""
    server, buffers = run(db, "SELECT version(), current_setting('shared_buffers')")[0]
    extension = run(db, "SELECT extversion FROM pg_extension WHERE extname = 'vector'")[0][0]
    print(f"{server.split(' on ')[0]}, pgvector {extension}, shared_buffers {buffers}")
    progress("making data")
    vectors, texts = make_vectors(sum(AGENTS), seed=5), make_texts(sum(AGENTS))
    queries = make_vectors(QUERIES, seed=6)
    measure: dict[str, Any] = {"db": db, "queries": queries, "rounds": rounds}

    if {"reads", "parallel", "order", "writes"} & set(parts):
        data = Data(vectors, texts, AGENTS)
        names = {layout.key: load(db, layout, data) for layout in LAYOUTS}
        if "reads" in parts:
            sizes(db, names)
            title = "Reads: ms of A, then ratios to A (range over the rounds)"
            measure_reads(layouts=LAYOUTS, data=data, title=title, **measure)
            measure_half_recall(db, LAYOUTS, data, queries)
        if "parallel" in parts:
            measure_parallel(layouts=pick("A,B,D2,E"), data=data, **measure)
        if "order" in parts:
            mixed = pick("A,B,D2,E")
            sorted_ = [replace(layout, order="clustered") for layout in mixed]
            for layout in sorted_:
                load(db, layout, data)
            for before, after in zip(mixed, sorted_, strict=True):
                title = f"Layout {before.key}: rows clustered by agent against interleaved"
                measure_reads(layouts=[before, after], data=data, title=title, **measure)
                run(db, f"DROP TABLE {after.table}")
        if "writes" in parts:
            measure_updates(db, names, 15, "UPDATE of 1,000 rows' metadata, no vector index")
            measure_writes(db, names, data, rounds)
        for name in names.values():
            run(db, f"DROP TABLE {name}")
    if "hnsw" in parts:
        measure_hnsw(layouts=hnsw_layouts, vectors=vectors, texts=texts, **measure)
    if "threshold" in parts:
        measure_threshold(layouts=threshold_layouts, vectors=vectors, texts=texts, **measure)
    if "oversize" in parts:
        measure_oversize(db, LAYOUTS, vectors)
    print("\n" + json.dumps({"rounds": rounds, "parts": parts}))


if __name__ == "__main__":
    main()
