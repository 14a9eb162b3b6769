"""What Django costs over raw Redis, and the pages of keys beside a thousand and a million keys.

A session's read and the cache are compared with redis-py's GET and SET of the same bytes, in turns, each
figure the time of one operation out of BATCH in a row. The pages are asked on two databases of one server.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

FEW, MANY = 1_000, 1_000_000
BATCH = 100
FEWEST_ROUNDS = 20
FILL = """
for i = tonumber(ARGV[1]), tonumber(ARGV[2]) do
  redis.call('SET', 'user:' .. i .. ':profile', '{"name":"John","visits":' .. i .. '}')
end
"""

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
