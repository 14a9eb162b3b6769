"""What a backup costs over the seed's `pg_dump | gzip`, and over pg_dump alone, without compression.

Ours does more than both: it hashes every row under the dump's snapshot, and reads the copy back from disk.
Beside the times: the sizes, the most memory that the process of a backup needs for a small and for a large
database, and how long a page of the admin takes while a backup runs.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

Report = Callable[[str, float, float, str], None]
Fill = Callable[[object, int, int], None]
#: Memories with vectors of 1,536 dimensions, 18 kB of text each: a quarter of a gigabyte, and a whole one.
SMALL, LARGE = 14_000, 56_000
STEP = 2_000
#: gzip takes most of the time.
ROUNDS = 2
PAGE = "/agents/agent/"
BESIDE = 8.0  # seconds that the page is asked for without a backup


def bench_backups(rounds: int, fill: Fill, report: Report) -> None:
    """fill: puts so many memories into an agent. Of the rounds only ROUNDS are run."""
    from django.db import connection

    from agents.models import Agent
    from arcweb.backups import server
    from arcweb.backups.processes import passfile, postgres_env
    from arcweb.backups.taking import Options, take

    agent = Agent.objects.create(name="to be backed up", type="bench").pk
    with connection.cursor() as cursor:
        cursor.execute("DROP INDEX agents.idx_memories_embedding")  # a dump has its definition alone
    _grow(fill, agent, 0, SMALL)
    with server.connect() as session:
        pg_dump = str(server.program("pg_dump", session).path)
    where = server.database()
    with tempfile.TemporaryDirectory() as folder, passfile(str(where["PASSWORD"])) as secret:
        env = os.environ | postgres_env(where) | secret
        target = Path(folder) / "copy"

        def seeds() -> int:
            dumping = subprocess.Popen([pg_dump], env=env, stdout=subprocess.PIPE)
            with target.open("wb") as out:
                subprocess.run(["gzip"], stdin=dumping.stdout, stdout=out, check=True)
            assert dumping.wait() == 0
            return target.stat().st_size

        def raw() -> int:
            subprocess.run([pg_dump, "-Fc", "-Z0", "-f", str(target)], env=env, check=True)
            return target.stat().st_size

        def ours() -> int:
            return take(Options()).bytes or 0

        parts: tuple[Callable[[], int], ...] = (ours, seeds, raw)
        found = [[_timed(part) for part in parts] for _ in range(min(rounds, ROUNDS))]
    ours_, seeds_, raw_ = (
        (statistics.median(seconds for seconds, _ in column), column[-1][1])
        for column in zip(*found, strict=True)
    )
    report(f"back up {SMALL:,} memories with vectors", ours_[0] * 1000, seeds_[0] * 1000, "pg_dump | gzip")
    report("the same", ours_[0] * 1000, raw_[0] * 1000, "pg_dump -Fc -Z0, no hashes")
    print(f"| size of that copy | {ours_[1]:,} bytes | {seeds_[1]:,} bytes | {ours_[1] / seeds_[1]:.2f} |")
    small = _process()
    _grow(fill, agent, SMALL, LARGE)
    alone = _page()
    with _beside() as ended:
        beside = _page(ended.is_set)
    large = ended.most  # type: ignore[attr-defined]
    print(
        f"| most memory of a backup, {LARGE:,} memories | {large:.0f} MB | {small:.0f} MB ({SMALL:,}) | "
        f"{large / small:.2f} |"
    )
    report(f"p95 of {PAGE} during a backup", beside, alone, "without one")


def _grow(fill: Fill, agent: object, start: int, end: int) -> None:
    for number in range(start, end, STEP):
        fill(agent, min(STEP, end - number), number)


def _timed(part: Callable[[], int]) -> tuple[float, int]:
    started = time.perf_counter()
    size = part()
    return time.perf_counter() - started, size


def _process() -> float:
    """A backup in a process of its own; returns the most memory that it had, in MB."""
    child = subprocess.Popen(
        [sys.executable, "manage.py", "backup", "create"], stdout=subprocess.DEVNULL, env=os.environ
    )
    _, status, used = os.wait4(child.pid, 0)
    assert status == 0
    return used.ru_maxrss / 1024


@contextmanager
def _beside() -> Iterator[threading.Event]:
    """A backup in a process of its own; the event says that it is over, `most` what _process returned."""
    ended = threading.Event()

    def run() -> None:
        ended.most = _process()  # type: ignore[attr-defined]
        ended.set()

    worker = threading.Thread(target=run)
    worker.start()
    time.sleep(3)  # until it has begun
    yield ended
    worker.join()


def _page(over: Callable[[], bool] | None = None) -> float:
    """The 95th percentile in ms of a page asked again and again, until `over` or for BESIDE seconds."""
    from django.contrib.auth.models import User
    from django.test import Client

    user, _ = User.objects.get_or_create(username="bench-backups", is_superuser=True, is_staff=True)
    client: Any = Client(headers={"host": "localhost"})
    client.force_login(user)
    times, end = [], time.perf_counter() + BESIDE
    while not over() if over else time.perf_counter() < end:
        started = time.perf_counter()
        assert client.get(PAGE).status_code == 200
        times.append((time.perf_counter() - started) * 1000)
        time.sleep(0.05)
    times.sort()
    return times[int(len(times) * 0.95)]
