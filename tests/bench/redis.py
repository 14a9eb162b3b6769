"""What Django costs over raw Redis, and the pages of keys beside a thousand and a million keys.

A session's read and the cache are compared with redis-py's GET and SET of the same bytes, in turns, each
figure the time of one operation out of BATCH in a row. The pages are asked on two databases of one server.
What others notice of browsing and of the jobs is the 99th percentile of a GET beside them.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

FEW, MANY = 1_000, 1_000_000
BATCH = 100
FEWEST_ROUNDS = 20
FILL = """
for i = tonumber(ARGV[1]), tonumber(ARGV[2]) do
  redis.call('SET', 'user:' .. i .. ':profile', '{"name":"John","visits":' .. i .. '}')
end
"""

#: Reads one key as fast as it can; prints the 99th percentile of the times, in microseconds.
READER = """
import sys, time
from redis import Redis
server = Redis.from_url(sys.argv[1])
times, end = [], time.perf_counter() + float(sys.argv[2])
while (now := time.perf_counter()) < end:
    server.get("user:7:profile")
    times.append(time.perf_counter() - now)
times.sort()
print(round(times[int(len(times) * .99)] * 1e6))
"""
READING_SECONDS = 0.7
MOST_ROUNDS_BESIDE = 10

InTurns = Callable[..., list[float]]
Report = Callable[[str, float, float, str], None]


def fill(url: str, keys: int) -> None:
    """That many keys in the database of that URL, and no others."""
    from redis import Redis

    with Redis.from_url(url) as server:
        server.flushdb()
        for first in range(0, keys, 10_000):
            server.execute_command("EVAL", FILL, 0, first, min(first + 10_000, keys) - 1)


def bench_redis(rounds: int, in_turns: InTurns, report: Report) -> None:
    bench_reads(rounds, in_turns, report)
    bench_beside(rounds, report)
    bench_keys(rounds)


def bench_reads(rounds: int, in_turns: InTurns, report: Report) -> None:
    from django.conf import settings
    from django.core.cache import cache
    from redis import Redis

    from arcweb.accounts.sessions import SessionStore

    session = SessionStore()
    session["user"], session["seen"] = "4711", list(range(20))
    session.save()
    value = {"rows": list(range(50)), "title": "a value of the cache"}
    cache.set("bench", value, 600)
    with Redis.from_url(settings.REDIS_URL) as raw:
        session_key, cache_key = (cache.make_key(key) for key in (session.cache_key, "bench"))
        stored = raw.get(cache_key)
        assert raw.get(session_key)
        assert isinstance(stored, bytes)
        before = commands(raw)
        assert SessionStore(session.session_key).load()["user"] == "4711"
        trips = commands(raw) - before - 1  # the look itself is one
        print(f"<!-- a session's read through Django: {trips} round trip(s) -->", flush=True)
        pairs = {
            "session read": (lambda: SessionStore(session.session_key).load(), lambda: raw.get(session_key)),
            "cache get": (lambda: cache.get("bench"), lambda: raw.get(cache_key)),
            "cache set": (
                lambda: cache.set("bench", value, 600),
                lambda: raw.set(cache_key, stored, px=600_000),
            ),
        }
        for name, (ours, theirs) in pairs.items():
            mine, plain = in_turns(rounds, repeated(ours), repeated(theirs))
            report(name, mine / BATCH, plain / BATCH, "redis-py, the same bytes")


def repeated(operation: Callable[[], object]) -> Callable[[], None]:
    def run() -> None:
        for _ in range(BATCH):
            operation()

    return run


def commands(server: object) -> int:
    """Commands that the server has run so far."""
    return int(server.info("stats")["total_commands_processed"])  # type: ignore[attr-defined]


def bench_keys(rounds: int) -> None:
    """Prints a line a page: 95th percentiles in milliseconds, and the ratio of the medians."""
    from django.conf import settings
    from django.contrib.auth.models import User
    from django.test import Client

    from cache_admin.keys.names import code_of

    usual = settings.REDIS_URL
    urls = {keys: usual.removesuffix("db=0") + f"db={number}" for keys, number in ((FEW, 14), (MANY, 15))}
    for keys, url in urls.items():
        fill(url, keys)
    client = Client(headers={"host": "localhost"})
    client.force_login(User.objects.create_superuser("bench-redis"))
    pages = {
        "Keys": "/redis/keys/",
        "Keys by pattern": "/redis/keys/?match=user:5*",
        "Keys that expire": "/redis/keys/?ttl=some",
        "One key": f"/redis/keys/{code_of(b'user:500:profile')}/",
    }
    times: dict[tuple[str, int], list[float]] = {}
    try:
        for number in range(max(rounds, FEWEST_ROUNDS) + 2):
            for keys, url in urls.items():
                settings.REDIS_URL = url
                for title, address in pages.items():
                    started = time.perf_counter()
                    response = client.get(address)
                    taken = (time.perf_counter() - started) * 1000
                    assert response.status_code == 200, (address, response.status_code)
                    if number > 1:
                        times.setdefault((title, keys), []).append(taken)
    finally:
        settings.REDIS_URL = usual
        for url in urls.values():
            fill(url, 0)
    print(f"| page of keys, 95th percentile | {FEW:,} keys | {MANY:,} keys | ratio of medians |")
    print("| --- | --- | --- | --- |")
    for title in pages:
        small, large = times[title, FEW], times[title, MANY]
        ratio = statistics.median(large) / statistics.median(small)
        p95 = [statistics.quantiles(one, n=20)[-1] for one in (small, large)]
        print(f"| {title} | {p95[0]:.1f} ms | {p95[1]:.1f} ms | {ratio:.2f} |", flush=True)


def bench_beside(rounds: int, report: Report) -> None:
    """A reader's 99th percentile beside browsing and each job, against that beside PINGs, in turns.

    The process that sends PINGs uses a processor as well: what is left is what the work holds others up.
    """
    from django.conf import settings

    from cache_admin import connections
    from cache_admin.keys import bigkeys, mass, scan

    usual = settings.REDIS_URL
    settings.REDIS_URL = usual.removesuffix("db=0") + "db=15"
    fill(settings.REDIS_URL, MANY)
    try:
        with connections.client("cache", timeout=5) as own:
            position = 0

            def browse() -> None:
                nonlocal position
                position = scan.browse(own, scan.Filters(), position).cursor

            jobs: dict[str, Callable[[Callable[[float], None]], object]] = {
                "big keys": lambda wait: bigkeys.survey(own, nothing, wait),
                "the count of a pattern": lambda wait: mass.count(own, b"user:*", nothing, wait),
                "its deletion": lambda wait: mass.delete(own, b"user:?*", MANY, nothing, wait),
            }
            compared("browsing", browse, own, rounds, report)
            for name, job in jobs.items():
                with in_steps(job) as step:
                    compared(name, step, own, rounds, report)
    finally:
        fill(settings.REDIS_URL, 0)
        settings.REDIS_URL = usual


def compared(name: str, step: Callable[[], object], own: Any, rounds: int, report: Report) -> None:
    from django.conf import settings

    beside, alone = [], []
    for _ in range(min(rounds, MOST_ROUNDS_BESIDE)):
        alone.append(p99_while(own.ping, settings.REDIS_URL))
        beside.append(p99_while(step, settings.REDIS_URL))
    ours, plain = (statistics.median(taken) / 1000 for taken in (beside, alone))
    report(f"p99 of GET beside {name}, {MANY:,} keys", ours, plain, "beside PING")


def p99_while(work: Callable[[], object], url: str) -> int:
    """The reader's 99th percentile, in microseconds, while this process repeats the work."""
    reader = subprocess.Popen(
        [sys.executable, "-c", READER, url, str(READING_SECONDS)], stdout=subprocess.PIPE, text=True
    )
    while reader.poll() is None:
        work()
    assert reader.returncode == 0
    assert reader.stdout is not None
    with reader.stdout as said:
        return int(said.read())


def nothing(*_: Any) -> None:
    """Reports and waits for nobody."""


class Over(Exception):  # noqa: N818
    """Ends a job that is carried out in steps."""


@contextmanager
def in_steps(run: Callable[[Callable[[float], None]], object]) -> Iterator[Callable[[], None]]:
    """The job, again and again, in a thread of its own: it pauses as it asks for, goes on when stepped."""
    turn, done, over = threading.Semaphore(0), threading.Semaphore(0), threading.Event()

    def wait(seconds: float) -> None:
        time.sleep(seconds)
        done.release()
        turn.acquire()
        if over.is_set():
            raise Over

    def work() -> None:
        turn.acquire()
        try:
            while not over.is_set():
                run(wait)
        except Over:
            pass

    def step() -> None:
        turn.release()
        done.acquire()

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        yield step
    finally:
        over.set()
        turn.release()
        thread.join()
