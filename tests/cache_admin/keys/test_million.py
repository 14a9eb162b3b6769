"""A million keys: every page and job keeps its budget, and holds the server's other clients up but briefly.

Nothing here depends on what else this machine does. A budget is counted in calls and keys; how long one
round trip holds the server is its main thread's time on the processor, against that of a GET. What others
notice on a quiet machine is measured by `make bench ARGS="--only redis"`.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from html import unescape
from typing import Any

import pytest
from django.test import Client
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
#: GETs of one small key that take the server as long as one of our round trips may, on average.
HOLD = 8
#: Commands of one round trip at most, on average: two for each of 20 keys.
COMMANDS = 40
#: SCANs of a page, of 100 keys each, and keys of which it asks more.
SCANS, MET = 1_000, 100_000
PAGES = ("", "?match=user:99999*", "?match=*nothing*", "?match=user:1*&ttl=minute", "?type=zset")
PART = 30_000


@pytest.fixture
def million(throwaway_stack: Callable[..., Stack], settings: Any) -> Iterator[Redis]:
    """The cache role of a stack of its own, with a million keys."""
    stack = throwaway_stack(postgres=False, roles=("cache",))
    settings.REDIS_URL = stack.layout.redis_url("cache")
    with Redis.from_url(settings.REDIS_URL, socket_timeout=30) as server:
        for first in range(0, KEYS, 10_000):
            server.execute_command("EVAL", FILL, 0, first, first + 9_999)
        yield server


@dataclass
class Load:
    """What the server measured of one thing that was done to it."""

    calls: dict[str, int]  #: of each command
    commands: float  #: of a round trip
    hold: float  #: microseconds of its main thread for a round trip


def load(server: Redis, work: Callable[[], object]) -> Load:
    def processor() -> float:
        spent = server.info("cpu")
        return float(spent["used_cpu_user_main_thread"] + spent["used_cpu_sys_main_thread"])

    server.config_resetstat()
    before = processor()
    work()
    seconds = processor() - before
    trips = server.info("stats")["total_reads_processed"]
    stats = server.info("commandstats")
    own = ("info", "config|resetstat")
    calls = {name.removeprefix("cmdstat_"): one["calls"] for name, one in stats.items()}
    ours = {name: count for name, count in calls.items() if name not in own}
    return Load(ours, sum(ours.values()) / trips, seconds / trips * 1e6)


class EnoughError(Exception):
    """Ends a job after a part of the keys."""


class Watched:
    """Stands for a job's wait(): takes down how long it works and how long it would pause."""

    def __init__(self) -> None:
        self.worked = self.paused = 0.0
        self.began: float | None = None

    def wait(self, seconds: float) -> None:
        if self.began is not None:
            self.worked += time.monotonic() - self.began
            self.paused += seconds
        self.began = time.monotonic()


def nothing(*_: Any) -> None:
    """Reports to nobody."""


def a_part(done: int, total: int, words: str) -> None:
    if done >= PART:
        raise EnoughError


def some_of(job: Callable[[], object]) -> Callable[[], None]:
    def run() -> None:
        with pytest.raises(EnoughError):
            job()

    return run


@pytest.mark.timeout(1800)  # a quarter of a minute, on a machine that does nothing else
@pytest.mark.django_db
def test_a_million_keys(million: Redis) -> None:
    client = client_of("viewer")
    used: set[str] = set()
    for query in PAGES:
        used |= browsed(million, client, query)

    with connections.client("cache", timeout=30) as own:
        own.set("other", "one small value")
        get = load(million, lambda: [own.get("other") for _ in range(10_000)]).hold
        watched = {name: Watched() for name in ("big keys", "count", "deletion")}
        pattern = read_pattern("user:?*5:*")
        fifth = KEYS // 10 - 1  # not user:5:, which has no digit before its five

        def counted() -> None:
            found = mass.count(own, pattern, nothing, watched["count"].wait)
            assert found.keys == fifth
            assert found.bytes

        def deleted() -> None:
            assert mass.delete(own, pattern, fifth, nothing, watched["deletion"].wait) == fifth

        for name, work in {
            "browsing": lambda: [scan.browse(own, scan.Filters()) for _ in range(100)],
            "big keys": some_of(lambda: bigkeys.survey(own, a_part, watched["big keys"].wait)),
            "count": counted,
            "deletion": deleted,
        }.items():
            seen = load(million, work)
            used |= set(seen.calls)
            print(
                f"{name}: a round trip of {seen.commands:.1f} commands, as long as {seen.hold / get:.1f} GETs"
            )
            assert seen.hold < HOLD * get, name
            assert seen.commands <= COMMANDS, name
        assert million.dbsize() == KEYS - fifth + 1

    # Others get the server between two portions, for as long as is promised.
    for name, share in (("big keys", bigkeys.PAUSE), ("count", mass.PAUSE), ("deletion", mass.PAUSE)):
        assert watched[name].paused > 0.9 * share * watched[name].worked > 0, name
    assert {"scan", "type", "pttl", "memory|usage", "unlink"} <= used
    assert not used & {"keys", "smembers", "hgetall", "del", "flushdb", "flushall", "monitor", "debug"}


def browsed(server: Redis, client: Client, query: str) -> set[str]:
    """The first page and the one behind it: a bounded number of keys is looked at. Returns the commands."""
    address, used = "/redis/keys/" + query, set()
    for budgets in (2, 1):  # the first has the tree of prefixes too
        pages: list[Any] = []
        seen = load(server, partial(lambda into, asked: into.append(client.get(asked)), pages, address))
        assert pages[0].status_code == 200
        assert 1 <= seen.calls["scan"] <= budgets * SCANS, query
        assert seen.calls.get("type", 0) <= MET, query
        following = re.search(r'rel="next" href="([^"]+)"', pages[0].content.decode())
        assert following, query
        address = "/redis/keys/" + unescape(following[1])
        used |= set(seen.calls)
    return used


@pytest.mark.django_db
@pytest.mark.usefixtures("own_cache")  # whose calls are counted
def test_a_page_ends_with_its_time(cache: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the server is slow, one look is all that a page takes, and it offers to go on."""
    cache.mset({f"user:{number}": "x" for number in range(3_000)})
    monkeypatch.setattr(scan, "SECONDS", 0.0)
    pages: list[Any] = []
    seen = load(cache, lambda: pages.append(client_of("viewer").get("/redis/keys/?match=*nothing*")))
    assert seen.calls["scan"] == 2  # one for the list, one for the tree
    assert 'rel="next"' in pages[0].content.decode()
