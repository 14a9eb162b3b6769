"""What the overview of the PostgreSQL server costs, and the samples behind it.

Of the page: its statements, the milliseconds in them as the client measures them, and what share of one
core a page takes that is open and refreshes its panels, by the processors' time of this process and of the
server's backends. Of the sampler: its time over that of the statement alone.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

InTurns = Callable[..., list[float]]
Report = Callable[[str, float, float, str], None]
FEWEST_ROUNDS = 20


def bench_postgres(rounds: int, in_turns: InTurns, report: Report) -> None:
    bench_sampler(rounds, in_turns, report)
    bench_page(rounds)


def bench_sampler(rounds: int, in_turns: InTurns, report: Report) -> None:
    from django.db import connection

    from arcweb.database.overview import samplers, vitals
    from arcweb.database.standing import standing
    from arcweb.samples import registry, taking
    from arcweb.samples.models import Sample

    statement = vitals.statement(*samplers.PIECES, version=standing().version)
    [sampler] = [one for one in registry.samplers() if one.source == "postgres"]

    def raw() -> None:
        with connection.cursor() as cursor:
            cursor.execute(statement, [])
            cursor.fetchone()

    def ours() -> None:
        Sample.objects.filter(source="postgres").delete()
        taking._take(sampler)

    mine, theirs = in_turns(rounds, ours, raw)
    report("sample of PostgreSQL, taken and stored", mine, theirs, "its statement")
    print(f"<!-- every 30 s: {mine / 30_000:.3%} of one core -->", flush=True)


def bench_page(rounds: int) -> None:
    from django.contrib.auth.models import User
    from django.db import connection
    from django.test import Client
    from django.test.utils import CaptureQueriesContext

    from arcweb.database.overview.figures import GROUPS
    from arcweb.samples import taking

    taking.take_samples()
    sample_of_before()
    client = Client(headers={"host": "localhost"})
    client.force_login(User.objects.create_superuser("bench-postgres"))
    #: address → seconds between two looks of an open page; None: asked once
    looks: dict[str, float | None] = {
        "": None,
        "?panel=verdict": 15,
        "?panel=courses": 30,
        "?panel=by-hand": 10,
        **{f"?panel={group.name}": float(group.refresh) for group in GROUPS},
    }
    print("| page of the server | statements | time in them | median | processor, web + database |")
    print("| --- | --- | --- | --- | --- |")
    share = 0.0
    for query, every in looks.items():
        client.get(f"/postgres/{query}")
        with CaptureQueriesContext(connection) as asked:
            client.get(f"/postgres/{query}")
            statements = list(asked.captured_queries)
        inside = sum(float(statement["time"]) for statement in statements) * 1000
        times: list[float] = []
        web, database = time.process_time(), backends()
        for _ in range(max(rounds, FEWEST_ROUNDS)):
            began = time.perf_counter()
            response: Any = client.get(f"/postgres/{query}")
            times.append((time.perf_counter() - began) * 1000)
            assert response.status_code == 200
        web = (time.process_time() - web) / len(times) * 1000
        database = (backends() - database) / len(times) * 1000
        print(
            f"| {query or 'the whole page'} | {len(statements)} | {inside:.1f} ms "
            f"| {statistics.median(times):.1f} ms | {web:.1f} + {database:.1f} ms |",
            flush=True,
        )
        if every:
            share += (web + database) / 1000 / every
    print(f"<!-- open and refreshing: {share:.2%} of one core, web and database together -->", flush=True)


def sample_of_before() -> None:
    """One of half an hour ago, without which the page has nothing to judge the last hour by."""
    from datetime import timedelta

    from arcweb.samples.models import Sample

    now, ago = Sample.objects.filter(source="postgres").latest("taken_at"), timedelta(minutes=30)
    Sample.objects.create(
        source=now.source, taken_at=now.taken_at - ago, read_at=now.read_at - ago, values=now.values
    )


def backends() -> float:
    """Seconds of processor that the server's processes have used, all together."""
    import psutil

    from tests.stack import STACK

    assert STACK is not None
    spent = 0.0
    for process in psutil.Process(STACK.postgres.status().pid).children(recursive=True):
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:
            continue  # a worker of autovacuum that has just ended
        spent += times.user + times.system
    return spent
