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
import pydoc_data.topics
import random
import statistics
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any, ParamSpec

import numpy as np
import numpy.typing as npt
import psycopg
from pgvector.psycopg import register_vector
from psycopg.types.json import Jsonb

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


def progress(message: str) -> None:
    print(f"[{time.strftime('%H:%M:%S')}] {message}", file=sys.stderr, flush=True)


def run(db: Connection, statement: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
    """Executes SQL made of this file's constants; the rows, or none."""
    cursor = db.execute(statement, parameters or None)
    return cursor.fetchall() if cursor.description else []


def connect(dsn: str) -> Connection:
    """An autocommit connection in the bench's own, new schema; unsuitable servers end in a sentence."""
    try:
        db = psycopg.connect(dsn, autocommit=True)
    except psycopg.Error as error:
        sys.exit(f"No connection with that DSN: {error}")
    place = run(db, "SELECT extnamespace::regnamespace::text FROM pg_extension WHERE extname = 'vector'")
    if not place:
        sys.exit("This database has no extension `vector`: CREATE EXTENSION vector as a superuser first.")
    run(db, f"DROP SCHEMA IF EXISTS {SCHEMA} CASCADE")
    run(db, f"CREATE SCHEMA {SCHEMA}")
    run(db, f"SET search_path TO {SCHEMA}, {place[0][0]}")
    # A generic plan knows no query vector; the application sets the same.
    run(db, "SET plan_cache_mode = force_custom_plan")
    run(db, "SET max_parallel_workers_per_gather = 0")
    run(db, "SET maintenance_work_mem = '1GB'")
    register_vector(db)
    return db


# --- data --------------------------------------------------------------------------------------


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


# --- measuring ---------------------------------------------------------------------------------


def milliseconds(action: Callable[P, object], *args: P.args, **kwargs: P.kwargs) -> float:
    start = time.perf_counter()
    action(*args, **kwargs)
    return (time.perf_counter() - start) * 1000


def rotated(keys: Sequence[str], turn: int) -> list[str]:
    """The keys, beginning with another one each turn."""
    return [*keys[turn % len(keys) :], *keys[: turn % len(keys)]]


@dataclass
class Samples:
    """Milliseconds of one case, a list for each round."""

    rounds: list[list[float]] = field(default_factory=list)

    @property
    def median(self) -> float:
        return statistics.median(value for samples in self.rounds for value in samples)

    def against(self, base: Samples) -> str:
        """The ratio of medians and its range over the rounds, for a table's cell."""
        ratios = [
            statistics.median(own) / statistics.median(other)
            for own, other in zip(self.rounds, base.rounds, strict=True)
        ]
        return f"{self.median / base.median:.2f} ({min(ratios):.2f}-{max(ratios):.2f})"


def interleave(
    cases: dict[str, Callable[[], object]], rounds: int, runs: int, *, warm: int = 1
) -> dict[str, Samples]:
    """Every case in every round, `warm` runs untimed and `runs` timed; who begins rotates."""
    samples = {key: Samples() for key in cases}
    keys = list(cases)
    for turn in range(rounds):
        for key in rotated(keys, turn):
            for _ in range(warm):
                cases[key]()
            samples[key].rounds.append([milliseconds(cases[key]) for _ in range(runs)])
    return samples


def table(header: Sequence[str], rows: Sequence[Sequence[str]], title: str) -> None:
    """Prints one Markdown table."""
    print(f"\n**{title}**\n")
    for line in (header, ["---"] * len(header), *rows):
        print("| " + " | ".join(line) + " |")
    sys.stdout.flush()


def ratio_row(title: str, samples: dict[str, Samples], base: str) -> list[str]:
    first = samples[base]
    return [title, f"{first.median:.2f}", *(s.against(first) for key, s in samples.items() if key != base)]


def plan_of(db: Connection, statement: str, parameters: Sequence[Any]) -> str:
    """The nodes of the planner's choice, outermost first."""
    found: list[str] = []

    def walk(node: dict[str, Any]) -> None:
        index = f" {node['Index Name'].rpartition('_')[2]}" if "Index Name" in node else ""
        found.append(node["Node Type"] + index)
        for child in node.get("Plans", []):
            walk(child)

    walk(run(db, f"EXPLAIN (FORMAT JSON) {statement}", parameters)[0][0][0]["Plan"])
    return " < ".join(found)


NEAREST = """
SELECT id, content, 1 - distance AS similarity FROM (
    SELECT id, content, {distance} AS distance FROM {name} WHERE {where} ORDER BY distance LIMIT 10
) AS nearest ORDER BY distance
"""


def exact_statement(layout: Layout, name: str, *, filtered: bool = True) -> str:
    """Parameters: query vector, then the agent when filtered. `+ 0` keeps every vector index out."""
    where = "agent_id = %s" if filtered else "embedding IS NOT NULL"
    return NEAREST.format(name=name, distance=f"({layout.distance(by_index=False)}) + 0", where=where)


def hnsw_statement(layout: Layout, name: str, *, filtered: bool = True) -> str:
    where = "agent_id = %s" if filtered else "embedding IS NOT NULL"
    return NEAREST.format(name=name, distance=layout.distance(by_index=True), where=where)


def searcher(
    db: Connection, statement: str, agent: uuid.UUID | None, queries: Vectors
) -> Callable[[], list[tuple[Any, ...]]]:
    """A call that searches for the next of the queries each time."""
    turn = count()
    tail = () if agent is None else (agent,)
    return lambda: run(db, statement, (queries[next(turn) % len(queries)], *tail))


def hits(rows: list[tuple[Any, ...]]) -> set[uuid.UUID]:
    return {row[0] for row in rows}


def recall(found: Sequence[set[uuid.UUID]], truth: Sequence[set[uuid.UUID]]) -> float:
    """Mean share of the true nearest rows that were found, 0 to 1."""
    return statistics.fmean(len(f & t) / len(t) for f, t in zip(found, truth, strict=True))


KEYWORD = """
SELECT id, content, ts_rank_cd(content_tsv, query) AS rank
FROM {name}, websearch_to_tsquery('english', %s) AS query
WHERE agent_id = %s AND content_tsv @@ query
ORDER BY rank DESC LIMIT 10
"""
COUNT = "SELECT count(*) FROM {name} WHERE agent_id = %s AND state = 'ready'"
FILTER = """SELECT count(*) FROM {name} WHERE agent_id = %s AND metadata @> '{{"position": 7}}'"""
SCAN = "SELECT count(*) FROM {name} WHERE content ILIKE '%%metaclass%%' AND agent_id IS DISTINCT FROM %s"
NEWEST = """
SELECT id, content, metadata, created_at, state FROM {name}
WHERE agent_id = %s ORDER BY created_at DESC, id DESC LIMIT 50
"""


@contextmanager
def setting(db: Connection, **values: str) -> Iterator[None]:
    """Session settings for a while; a double underscore stands for a dot."""
    names = {key.replace("__", "."): value for key, value in values.items()}
    for name, value in names.items():
        run(db, f"SET {name} = '{value}'")
    try:
        yield
    finally:
        for name in names:
            run(db, f"RESET {name}")
        run(db, "SET max_parallel_workers_per_gather = 0")


# --- the parts ---------------------------------------------------------------------------------


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


def wal_position(db: Connection) -> int:
    return int(run(db, "SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn")[0][0])


def updates(db: Connection, name: str) -> tuple[int, int]:
    """(updates, of which HOT) of the table so far."""
    run(db, "SELECT pg_stat_force_next_flush()")
    row = run(
        db,
        """SELECT pg_stat_get_tuples_updated(o), pg_stat_get_tuples_hot_updated(o)
           FROM (SELECT %s::regclass::oid) AS t(o)""",
        (name,),
    )[0]
    return int(row[0]), int(row[1])


UPDATE = """UPDATE {name} SET metadata = metadata || jsonb_build_object('seen', %s::int) WHERE id = ANY(%s)"""


def measure_updates(db: Connection, names: dict[str, str], runs: int, title: str) -> None:
    """UPDATE of the metadata of the same 1,000 rows, a VACUUM between; HOT share and WAL of each."""
    chosen = {
        name: [
            row[0]
            for row in run(db, f"SELECT id FROM (SELECT id FROM {name} ORDER BY md5(id::text) LIMIT 1000) t")
        ]
        for name in names.values()
    }
    samples = {key: Samples() for key in names}
    hot: dict[str, list[float]] = {key: [] for key in names}
    wal: dict[str, list[int]] = {key: [] for key in names}
    keys = list(names)
    for turn in range(runs + 1):
        progress(f"{title}: run {turn}")
        for key in rotated(keys, turn):
            name = names[key]
            run(db, f"VACUUM {name}")
            before, position = updates(db, name), wal_position(db)
            spent = milliseconds(run, db, UPDATE.format(name=name), (turn, chosen[name]))
            wal[key].append(wal_position(db) - position)
            after = updates(db, name)
            hot[key].append((after[1] - before[1]) / (after[0] - before[0]))
            if turn:
                samples[key].rounds.append([spent])
    base = samples[keys[0]]
    table(
        ["layout", "ratio", "ms", "HOT, first run", "HOT, later", "WAL MB, later"],
        [
            [
                key,
                samples[key].against(base),
                f"{samples[key].median:.0f}",
                f"{hot[key][0]:.0%}",
                f"{statistics.median(hot[key][1:]):.0%}",
                f"{statistics.median(wal[key][1:]) / 2**20:.1f}",
            ]
            for key in keys
        ],
        title,
    )


def measure_writes(db: Connection, names: dict[str, str], data: Data, rounds: int) -> None:
    """COPY of 5,000 rows, then DELETE of three agents of 10,000 rows with the VACUUM after each."""
    keys = list(names)
    base = keys[0]
    visitor = Data(data.vectors[:5_000], data.texts[:5_000], (5_000,))
    added = list(visitor.rows())
    insert = {key: Samples() for key in names}
    insert_wal: dict[str, list[int]] = {key: [] for key in names}
    for turn in range(max(rounds, 5)):
        progress(f"COPY 5,000: run {turn}")
        for key in rotated(keys, turn):
            name, position = names[key], wal_position(db)
            insert[key].rounds.append([milliseconds(copy_rows, db, name, iter(added))])
            insert_wal[key].append(wal_position(db) - position)
            run(db, f"DELETE FROM {name} WHERE id = ANY(%s)", ([row[0] for row in added],))
            run(db, f"VACUUM {name}")
    delete, vacuum = ({key: Samples() for key in names} for _ in range(2))
    for turn, agent in enumerate(data.agents[LARGE + 1 : LARGE + 4]):
        progress(f"DELETE 10,000: run {turn}")
        for key in rotated(keys, turn):
            name = names[key]
            statement = f"DELETE FROM {name} WHERE agent_id = %s"
            delete[key].rounds.append([milliseconds(run, db, statement, (agent,))])
            vacuum[key].rounds.append([milliseconds(run, db, f"VACUUM {name}")])
    megabytes = [f"{statistics.median(insert_wal[key]) / 2**20:.0f}" for key in keys]
    table(
        ["write", f"{base} ms", *keys[1:]],
        [
            ratio_row("COPY 5,000 rows", insert, base),
            ["WAL of that, MB", *megabytes],
            ratio_row("DELETE 10,000 rows", delete, base),
            ratio_row("VACUUM after it", vacuum, base),
        ],
        "Writes (no vector index)",
    )


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
