"""A million keys: every page and job keeps its budget, and the server's other clients hardly notice."""

from __future__ import annotations

import re
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from html import unescape
from typing import Any

import pytest
from redis import Redis

from arcweb.embedded.stack import Stack
from cache_admin import connections
from cache_admin.keys import bigkeys, mass, scan
from cache_admin.keys.names import read_pattern
from tests.people import client_of

KEYS = 1_000_000
FILL = """
for i = tonumber(ARGV[1]), tonumber(ARGV[2]) do
  redis.call('SET', 'user:' .. i .. ':profile', 'value of ' .. i)
end
"""
#: Reads one key as fast as it can; prints the 99th percentile of a second's times in microseconds.
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
#: By how much the 99th percentile may grow. The goal is 2; a machine shared with others gets some more.
TIMES = 4.0
ROUNDS = 3


def fill(server: Redis, keys: int = KEYS, chunk: int = 10_000) -> None:
    for first in range(0, keys, chunk):
        server.execute_command("EVAL", FILL, 0, first, first + chunk - 1)


@pytest.fixture
def million(throwaway_stack: Callable[..., Stack], settings: Any) -> Iterator[Redis]:
    """The cache role of a stack of its own, with a million keys."""
    stack = throwaway_stack(postgres=False, roles=("cache",))
    settings.REDIS_URL = stack.layout.redis_url("cache")
    with Redis.from_url(settings.REDIS_URL, socket_timeout=30) as server:
        started = time.monotonic()
        fill(server)
        print(f"\nfilled in {time.monotonic() - started:.1f} s, {server.info()['used_memory_human']}")
        yield server


def p99_while(work: Callable[[], object], url: str, seconds: float = 1.0) -> int:
    """The reader's 99th percentile, in microseconds, while this process repeats the work."""
    reader = subprocess.Popen(
        [sys.executable, "-c", READER, url, str(seconds)], stdout=subprocess.PIPE, text=True
    )
    while reader.poll() is None:
        work()
    assert reader.returncode == 0
    assert reader.stdout is not None
    with reader.stdout as said:
        return int(said.read())


def nothing(*_: Any) -> None:
    """Reports and waits for nobody."""


@pytest.mark.timeout(900)  # half a minute, on a machine that does nothing else
@pytest.mark.django_db
def test_a_million_keys(million: Redis) -> None:
    client = client_of("viewer")
    url = connections.url("cache")

    # The browser: the first page, with its tree; far on; and patterns that match little or nothing.
    times, address = [], "/redis/keys/"
    for query in ("", "?match=user:99999*", "?match=*nothing*", "?match=user:1*&ttl=minute", "?type=zset"):
        started = time.monotonic()
        page = client.get(address + query)
        times.append(time.monotonic() - started)
        assert page.status_code == 200
        following = re.search(r'rel="next" href="([^"]+)"', page.content.decode())
        assert following, query
        started = time.monotonic()
        assert client.get(address + unescape(following[1])).status_code == 200
        times.append(time.monotonic() - started)
    print("pages of the browser:", ", ".join(f"{taken * 1000:.0f} ms" for taken in times))
    assert statistics.median(times) < 1

    # The jobs leave the server time for others.
    with connections.client("cache", timeout=5) as own:
        position = 0

        def ping() -> None:
            own.ping()

        def browse() -> None:
            nonlocal position
            position = scan.browse(own, scan.Filters(), position).cursor

        steps: dict[str, Callable[[], object]] = {
            "browse": browse,
            "big keys": in_steps(lambda wait: bigkeys.survey(own, nothing, wait)),
            "count": in_steps(lambda wait: mass.count(own, b"user:*", nothing, wait)),
        }
        for name, step in steps.items():
            # The same process works as hard for the figure that it is compared with.
            ratios = []
            for _ in range(ROUNDS):
                alone, beside = p99_while(ping, url), p99_while(step, url)
                ratios.append(beside / alone)
                print(f"{name}: p99 of GET {alone} µs beside PING, {beside} µs beside it")
                if ratios[-1] < 2:
                    break
            assert min(ratios) < TIMES, name

        # The whole of each job.
        started = time.monotonic()
        found = bigkeys.survey(own, nothing, nothing)
        print(f"big keys: {time.monotonic() - started:.1f} s")
        assert (found.keys, found.types["string"].keys) == (KEYS, KEYS)
        assert found.prefixes["user:"].keys == KEYS
        counted = mass.count(own, read_pattern("user:?*5:*"), nothing, nothing)
        print(f"count: {counted.seconds:.1f} s, {counted.bytes} bytes")
        assert counted.keys == KEYS // 10 - 1  # not user:5:, which has no digit before its five
        started = time.monotonic()
        assert mass.delete(own, b"user:*", KEYS, nothing, nothing) == KEYS
        print(f"deletion: {time.monotonic() - started:.1f} s")
        assert not million.dbsize()

    # What the server itself measured, whatever else this machine does: no call holds it for long.
    stats = million.info("commandstats")
    for name in ("scan", "unlink", "memory|usage", "type"):
        print(f"{name}: {stats[f'cmdstat_{name}']['usec_per_call']} µs a call")
    assert stats["cmdstat_scan"]["usec_per_call"] < 2_000
    assert stats["cmdstat_unlink"]["usec_per_call"] < 5_000
    used = {name.removeprefix("cmdstat_") for name in stats}
    assert "scan" in used
    assert not used & {"keys", "smembers", "hgetall", "flushdb", "flushall", "monitor", "debug"}


def in_steps(run: Callable[[Callable[[float], None]], object]) -> Callable[[], None]:
    """The job runs in a thread of its own, pauses as it asks for, and goes on only while it is stepped."""
    turn, done = threading.Semaphore(0), threading.Semaphore(0)

    def wait(seconds: float) -> None:
        time.sleep(seconds)
        done.release()
        turn.acquire()

    def work() -> None:
        turn.acquire()
        while True:
            run(wait)

    threading.Thread(target=work, daemon=True).start()

    def step() -> None:
        turn.release()
        done.acquire()

    return step
