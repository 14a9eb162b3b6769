"""Sizes, reads, parallel plans."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tests.bench.storage.connection import progress, run
from tests.bench.storage.data import Data
from tests.bench.storage.layouts import KEYWORDS, LARGE, SMALL, Connection, Layout, Vectors
from tests.bench.storage.measuring import Samples, interleave, plan_of, ratio_row, table
from tests.bench.storage.statements import (
    COUNT,
    FILTER,
    KEYWORD,
    NEWEST,
    SCAN,
    exact_statement,
    hits,
    recall,
    searcher,
    setting,
)


def sizes(db: Connection, names: dict[str, str]) -> None:
    """Megabytes of heap, TOAST and indexes, and which columns lie out of line."""
    rows = []
    for key, name in names.items():
        heap, toast, indexes = run(
            db,
            """SELECT pg_relation_size(c.oid), pg_total_relation_size(c.reltoastrelid), pg_indexes_size(c.oid)
               FROM pg_class c WHERE c.oid = %s::regclass""",
            (name,),
        )[0]
        outside = run(
            db,
            f"""SELECT avg((pg_column_toast_chunk_id(embedding) IS NOT NULL)::int),
                       avg((pg_column_toast_chunk_id(content) IS NOT NULL)::int),
                       avg((pg_column_toast_chunk_id(content_tsv) IS NOT NULL)::int)
                FROM {name}""",
        )[0]
        rows.append(
            [key]
            + [f"{value / 2**20:,.0f}" for value in (heap, toast, indexes, heap + toast + indexes)]
            + [f"{float(share):.0%}" for share in outside]
        )
    table(
        [
            "layout",
            "heap MB",
            "TOAST MB",
            "indexes MB",
            "sum MB",
            "vector out of line",
            "content",
            "tsvector",
        ],
        rows,
        "Sizes (no vector index)",
    )


def read_cases(
    db: Connection, layouts: Sequence[Layout], data: Data, queries: Vectors
) -> dict[str, dict[str, Callable[[], object]]]:
    """The reads to compare: title → layout → call."""
    small, large = data.agents[SMALL], data.agents[LARGE]

    def keywords(name: str) -> Callable[[], object]:
        return lambda: [run(db, KEYWORD.format(name=name), (words, large)) for words in KEYWORDS]

    def plain(statement: str, name: str) -> Callable[[], object]:
        return lambda: run(db, statement.format(name=name), (large,))

    def each(make: Callable[[Layout], Callable[[], object]]) -> dict[str, Callable[[], object]]:
        return {layout.table: make(layout) for layout in layouts}

    return {
        "exact, 1,000 rows": each(lambda o: searcher(db, exact_statement(o, o.table), small, queries)),
        "exact, 10,000 rows": each(lambda o: searcher(db, exact_statement(o, o.table), large, queries)),
        "keyword, 10,000 rows": each(lambda o: keywords(o.table)),
        "count by agent and state": each(lambda o: plain(COUNT, o.table)),
        "newest 50, no vector": each(lambda o: plain(NEWEST, o.table)),
        "metadata filter, 10,000 rows": each(lambda o: plain(FILTER, o.table)),
        "ILIKE over all 50,000 rows": each(lambda o: plain(SCAN, o.table)),
    }


def measure_reads(
    db: Connection, layouts: Sequence[Layout], data: Data, queries: Vectors, rounds: int, title: str
) -> None:
    base = layouts[0].table
    rows = []
    for name, cases in read_cases(db, layouts, data, queries).items():
        progress(f"{title}: {name}")
        rows.append(ratio_row(name, interleave(cases, rounds, 4), base))
    keys = [layout.key + (" clustered" if layout.order == "clustered" else "") for layout in layouts]
    table(["read", f"{keys[0]} ms", *keys[1:]], rows, title)


#: What the planner is told before an exact search: title → settings.
PARALLEL = {
    "0 workers": {"max_parallel_workers_per_gather": "0"},
    "2 workers": {"max_parallel_workers_per_gather": "2"},
    "2 workers, forced": {
        "max_parallel_workers_per_gather": "2",
        "parallel_setup_cost": "0",
        "parallel_tuple_cost": "0",
        "min_parallel_table_scan_size": "0",
    },
}


def measure_parallel(
    db: Connection, layouts: Sequence[Layout], data: Data, queries: Vectors, rounds: int
) -> None:
    """Exact search with and without parallel workers, and the plans that the planner picks."""
    rows = []
    plans: dict[str, list[str]] = {}
    agents = {"1,000": data.agents[SMALL], "10,000": data.agents[LARGE], "all 50,000": None}
    for title, agent in agents.items():
        for layout in layouts:
            statement = exact_statement(layout, layout.table, filtered=agent is not None)
            tail = () if agent is None else (agent,)
            samples = {way: Samples() for way in PARALLEL}
            progress(f"parallel: {layout.key}, {title}")
            for turn in range(rounds):
                for way, settings in PARALLEL.items():
                    with setting(db, **settings):
                        search = searcher(db, statement, agent, queries)
                        samples[way].rounds += interleave({"": search}, 1, 4)[""].rounds
                        if not turn:
                            plan = plan_of(db, statement, (queries[0], *tail))
                            plans.setdefault(plan, []).append(f"{layout.key} {title} ({way})")
            rows.append([title, *ratio_row(layout.key, samples, "0 workers")])
    table(["rows", "layout", "0 workers ms", *list(PARALLEL)[1:]], rows, "Parallel exact search")
    table(["plan", "chosen for"], [[p, "; ".join(who)] for p, who in plans.items()], "Plans of exact search")


def measure_half_recall(db: Connection, layouts: Sequence[Layout], data: Data, queries: Vectors) -> None:
    for layout in (layout for layout in layouts if layout.half):
        full = Layout("", "")
        found, truth = (
            [hits(run(db, exact_statement(o, layout.table), (q, data.agents[LARGE]))) for q in queries]
            for o in (layout, full)
        )
        print(f"\nrecall@10 of exact search over halfvec ({layout.key}): {recall(found, truth):.4f}")
