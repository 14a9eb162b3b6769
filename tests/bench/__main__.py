"""make bench: what the project costs over the raw operation, in one run, in turns.

    python -m tests.bench [--rounds 30]
        [--only search|writes|delete|redis|postgres|pages|events|backups|proving]

Every figure but those of pages and events is a ratio of medians to the raw operation that stands beside
it; both take turns in each round, so that a busy neighbour slows them alike. Servers are throw-away ones. The
layouts of agents.memories are measured by tests.bench.storage, which takes half an hour and is run by
itself.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable

from tests import stack  # first: it makes the environment that the settings read
from tests.bench.backups import bench_backups
from tests.bench.backups_proving import bench_proving
from tests.bench.events import bench_events
from tests.bench.pages import bench_pages
from tests.bench.postgres import bench_postgres
from tests.bench.redis import bench_redis

Operation = Callable[[], object]


def in_turns(rounds: int, *operations: Operation) -> list[float]:
    """The median of each operation in milliseconds, after two rounds to warm up."""
    times: list[list[float]] = [[] for _ in operations]
    for number in range(rounds + 2):
        for taken, operation in zip(times, operations, strict=True):
            started = time.perf_counter()
            operation()
            if number > 1:
                taken.append((time.perf_counter() - started) * 1000)
    return [statistics.median(taken) for taken in times]


def report(name: str, ours: float, raw: float, raw_name: str) -> None:
    print(f"| {name} | {ours:.2f} ms | {raw:.2f} ms ({raw_name}) | {ours / raw:.2f} |", flush=True)


def fill(agent_id: object, rows: int, seed: int) -> None:
    """`rows` embedded memories with random unit vectors."""
    import numpy as np

    from memories.pg import vector_cursor

    vectors = np.random.default_rng(seed).normal(size=(rows, 1536)).astype(np.float32)
    with (
        vector_cursor() as cursor,
        cursor.copy(
            "COPY agents.memories (agent_id, content, embedding, embedding_model) "
            "FROM STDIN WITH (FORMAT BINARY)"
        ) as copy,
    ):
        copy.set_types(["uuid", "text", "vector", "varchar"])
        for number, vector in enumerate(vectors):
            copy.write_row((agent_id, f"memory {number} of many, about lease and batch", vector, "bench"))


def bench_search(rounds: int) -> None:
    import numpy as np
    from django.db import connection

    from agents.models import Agent
    from memories.pg import vector_cursor
    from memories.search import EXACT_ROWS, Filters, by_vector

    with connection.cursor() as cursor:
        # Built after the load, as traps of pgvector demand; the index is the project's own.
        cursor.execute("DROP INDEX agents.idx_memories_embedding")
    sizes = (1_000, EXACT_ROWS, 2 * EXACT_ROWS)
    agents = {}
    for seed, rows in enumerate(sizes):
        agents[rows] = Agent.objects.create(name=f"of {rows}", type="bench")
        fill(agents[rows].pk, rows, seed)
    with connection.cursor() as cursor:
        cursor.execute("SET maintenance_work_mem = '1GB'")
        cursor.execute(
            "CREATE INDEX idx_memories_embedding ON agents.memories USING hnsw (embedding vector_cosine_ops) "
            "WITH (m = 16, ef_construction = 64)"
        )
        cursor.execute("VACUUM ANALYZE agents.memories")
    query = np.random.default_rng(9).normal(size=1536).astype(np.float32)

    for rows, agent in agents.items():
        order = "(embedding <=> %s) + 0" if rows <= EXACT_ROWS else "embedding <=> %s"

        def raw(agent_id: object = agent.pk, order: str = order) -> None:
            with vector_cursor() as cursor:
                cursor.execute(
                    f"SELECT id, content FROM agents.memories WHERE agent_id = %s ORDER BY {order} LIMIT 10",
                    (agent_id, query),
                ).fetchall()

        def ours(agent_id: object = agent.pk) -> None:
            assert len(by_vector(query, ["bench"], Filters(agent_id), 10).hits) == 10  # type: ignore[arg-type]

        mine, theirs = in_turns(rounds, ours, raw)
        route = by_vector(query, ["bench"], Filters(agent.pk), 10).route
        report(f"search, {rows} memories, {route}", mine, theirs, "one SQL statement")


def bench_writes(rounds: int) -> None:
    import numpy as np
    from django.db import connection

    from agents.models import Agent
    from memories import embed
    from memories.models import Memory
    from memories.pg import vector_cursor

    agent = Agent.objects.create(name="writes", type="bench")
    batch = 16
    for number in range((rounds + 2) * batch * 2):
        Memory.objects.create(agent=agent, content=f"to write {number}")
    vectors = np.random.default_rng(3).normal(size=(batch, 1536)).astype(np.float32)
    ids = iter(list(Memory.objects.filter(agent=agent).values_list("pk", "content", "content_hash")))

    def take() -> list[embed.Claimed]:
        rows = [next(ids) for _ in range(batch)]
        return [embed.Claimed(pk, content or "", bytes(digest or b"")) for pk, content, digest in rows]

    def ours() -> None:
        assert embed.write_vectors(take(), vectors, "bench") == batch

    def raw() -> None:
        rows = [(vector, row.id) for row, vector in zip(take(), vectors, strict=True)]
        with connection.cursor(), vector_cursor() as cursor:
            cursor.executemany("UPDATE agents.memories SET embedding = %s WHERE id = %s", rows)

    report("write 16 vectors", *in_turns(rounds, ours, raw), "UPDATE by id")


def bench_delete() -> None:
    from django.db import connection

    from agents.models import Agent

    agent = Agent.objects.create(name="large", type="bench")
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO agents.memories (agent_id, content) "
            "SELECT %s, 'memory ' || i FROM generate_series(1, 90000) AS i",
            [agent.pk],
        )
    fill(agent.pk, 10_000, 7)
    started = time.perf_counter()
    agent.delete()
    taken = time.perf_counter() - started
    print(f"| delete an agent of 100,000 memories, 10,000 with vectors | {taken:.2f} s | | |")


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="make bench", description=__doc__.splitlines()[0] if __doc__ else ""
    )
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument(
        "--only",
        choices=["search", "writes", "delete", "redis", "postgres", "pages", "events", "backups", "proving"],
    )
    options = parser.parse_args()
    parts = {
        "search": lambda: bench_search(options.rounds),
        "writes": lambda: bench_writes(options.rounds),
        "delete": bench_delete,
        "redis": lambda: bench_redis(options.rounds, in_turns, report),
        "postgres": lambda: bench_postgres(options.rounds, in_turns, report),
        "pages": lambda: bench_pages(options.rounds),
        "events": lambda: bench_events(options.rounds),
        "backups": lambda: bench_backups(options.rounds, fill, report),
        "proving": lambda: bench_proving(options.rounds, fill, report),
    }
    assert stack.STACK is not None
    stack.STACK.start()
    try:
        os.environ["DJANGO_SETTINGS_MODULE"] = "arcweb.settings"
        import django
        from django.core.management import call_command

        django.setup()
        call_command("migrate", verbosity=0)
        call_command("collectstatic", interactive=False, verbosity=0)  # the pages name hashed files
        print("| operation | ARC Web | raw | ratio |\n| --- | --- | --- | --- |", flush=True)
        for name, part in parts.items():
            if options.only in (None, name):
                part()
    finally:
        stack.STACK.destroy()


if __name__ == "__main__":
    main()
