"""Leases: they show what comes, within bounds, and always end with their connection."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from typing import Any

import pytest
from redis import Redis
from redis.exceptions import NoPermissionError

from cache_admin import connections
from cache_admin.traffic import clients, leases
from cache_admin.traffic.resp import Text
from tests.cache_admin.traffic.conftest import named
from tests.waiting import until

ME = 7
#: Seconds that no test takes.
AMPLE = 600


def begun(lease: leases.Lease) -> leases.Lease:
    lease.begin()
    return lease


def said(lease: leases.Lease) -> str:
    return "\n".join(f"{line.source} {line.text}" for line in list(lease.lines))


def test_monitor_shows_commands_and_masks_what_is_secret(cache: Redis) -> None:
    lease = begun(leases.monitor("cache", ME, 30))
    assert named(cache, "arcweb-monitor") == 1
    cache.execute_command("SETEX", "session:abc123def456", 60, '{"user": "grace"}')
    cache.execute_command("MIGRATE", "localhost", 1, "nokey", 0, 1, "AUTH", "hunter2")
    cache.set("greeting", 'a "quoted"\nline \x00 <b>', ex=60)
    until(lambda: "greeting" in said(lease))
    assert "SETEX session:abc1…" in said(lease)
    assert "23def" not in said(lease)
    assert "grace" not in said(lease)
    assert "hunter2" not in said(lease)
    assert 'SET greeting a "quoted"\\nline \\x00 <b> EX 60' in said(lease)
    lease.stop()
    until(lambda: lease.ended)
    assert lease.ended == "It was stopped."
    until(lambda: named(cache, "arcweb-monitor") == 0)


def test_a_lease_ends_when_its_time_is_over(cache: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "SECONDS", (1,))
    started = time.monotonic()
    lease = begun(leases.monitor("cache", ME, 1))
    until(lambda: lease.ended)
    assert time.monotonic() - started >= 1
    assert lease.ended == "Its 1 s are over."
    until(lambda: named(cache, "arcweb-monitor") == 0)
    assert lease.left == 0


class Clock:
    """As the module time has it, and `ahead` of it."""

    ahead = 0.0
    looks = 0

    def monotonic(self) -> float:
        self.looks += 1
        return time.monotonic() + self.ahead


def test_a_lease_ends_when_nobody_looks(cache: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a clock of the test's own, which passes over a minute at once."""
    clock = Clock()
    monkeypatch.setattr(leases, "time", clock)
    monkeypatch.setattr(leases, "SECONDS", (AMPLE,))
    lease = begun(leases.messages("cache", ME, AMPLE, b"*"))
    for _ in range(3):
        clock.ahead += leases.UNWATCHED / 2
        lease.watched()
        looks = clock.looks
        until(lambda looks=looks: clock.looks > looks + 2 or lease.ended)  # type: ignore[misc]
        assert not lease.ended
    clock.ahead += leases.UNWATCHED
    until(lambda: lease.ended)
    assert "Nobody had looked" in lease.ended
    until(lambda: named(cache, "arcweb-channels") == 0)


def run(code: str) -> str:
    """What a process of its own prints, with this test's servers."""
    roles: dict[str, Any] = {
        "REDIS_URL": connections.url("cache"),
        "REDIS_STATE_URL": connections.url("state"),
    }
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | roles,
        capture_output=True,
        text=True,
        timeout=240,
        check=True,
    )
    return done.stdout


def test_one_monitor_for_a_server_across_processes(
    cache: Redis, state: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "UNWATCHED", AMPLE)  # the other process takes seconds to start
    monkeypatch.setattr(leases, "SECONDS", (AMPLE,))
    lease = begun(leases.monitor("cache", ME, AMPLE))
    with pytest.raises(leases.BusyError, match="already"):
        leases.monitor("cache", ME + 1, AMPLE)
    other = (
        "import django; django.setup()\n"
        "from cache_admin.traffic import leases\n"
        "try:\n    leases.monitor('cache', 9, 10)\nexcept leases.BusyError as busy:\n    print(busy)\n"
    )
    assert "already" in run(other)
    begun(leases.monitor("state", ME, AMPLE)).stop()  # another server
    lease.stop()
    until(lambda: not state.keys("arcweb:live:*"))
    begun(leases.monitor("cache", ME + 1, AMPLE))


def test_a_flood_is_counted_and_kept_within_bounds(cache: Redis) -> None:
    lease = begun(leases.monitor("cache", ME, 30))
    pipeline = cache.pipeline(transaction=False)
    for number in range(3000):
        pipeline.get(f"flood:{number}")
    started = time.monotonic()
    pipeline.execute()
    until(lambda: lease.dropped + len(lease.lines) >= 3000)
    took = int(time.monotonic() - started) + 2
    assert len(lease.lines) <= leases.MOST_A_SECOND * took
    assert lease.lines[0].number == 1


def test_a_huge_command_is_cut(cache: Redis) -> None:
    lease = begun(leases.monitor("cache", ME, 30))
    cache.set("huge", b"\x01" * 200_000, ex=5)
    until(lambda: "huge" in said(lease))
    [line] = [line for line in lease.lines if "huge" in line.text]
    assert len(line.text) < 100
    assert "bytes)" in line.text


def test_too_much_ends_it(cache: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "MOST_BYTES", 100_000)
    lease = begun(leases.monitor("cache", ME, 30))
    cache.set("huge", b"x" * 200_000, ex=5)
    until(lambda: lease.ended)
    assert "too busy" in lease.ended
    until(lambda: named(cache, "arcweb-monitor") == 0)


def test_messages_of_matching_channels_come_masked(cache: Redis) -> None:
    lease = begun(leases.messages("cache", ME, 30, b"news*"))
    until(lambda: cache.pubsub_numpat() > 0)
    cache.publish("news:today", "hello\r\n<i>you</i>")
    cache.publish("other", "unseen")
    cache.publish("news:today", '{"gone": "session:abc123def456"}')
    cache.publish("news:binary", b"\xff\x00")
    cache.publish("news.pidbox", '{"arguments": "private"}')
    cache.publish("news:large", "y" * 100_000)
    until(lambda: len(lease.lines) == 5)
    assert said(lease).splitlines() == [
        "news:today hello\\r\\n<i>you</i>",
        'news:today {"gone": "session:abc1…"}',
        "news:binary \\xff\\x00",
        "news.pidbox (24 bytes)",
        f"news:large {'y' * 120}… (4,096 bytes) (100,000 bytes in all)",
    ]


def test_a_killed_connection_is_told(cache: Redis) -> None:
    lease = begun(leases.monitor("cache", ME, 30))
    (monitor,) = [each for each in clients.listed(cache) if each.name == "arcweb-monitor"]
    assert cache.execute_command("CLIENT", "KILL", "ID", monitor.id) == 1  # no other test's connection
    until(lambda: lease.ended)
    assert "closed the connection" in lease.ended


def test_a_server_that_forbids_it_says_so_and_nothing_stays(
    cache: Redis, state: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache.execute_command("ACL", "SETUSER", "guest", "on", ">guest", "~*", "&*", "+@all", "-monitor")
    real = connections.url
    user_and_password = re.compile(r"//[^@]*@")
    monkeypatch.setattr(
        connections,
        "url",
        lambda role: user_and_password.sub("//guest:guest@", real(role)) if role == "cache" else real(role),
    )
    try:
        lease = leases.monitor("cache", ME, 30)
        with pytest.raises(NoPermissionError):
            lease.begin()
    finally:
        cache.execute_command("ACL", "DELUSER", "guest")
    assert lease.ended
    assert not state.keys("arcweb:live:*")


def test_only_its_owner_finds_a_lease_and_an_old_one_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    first = begun(leases.messages("cache", ME, 30, b"*"))
    assert leases.find(first.token, ME) is first
    assert leases.find(first.token, ME + 1) is None
    second = begun(leases.messages("cache", ME, 30, b"*"))
    until(lambda: first.ended)
    monkeypatch.setattr(leases, "KEPT_AFTER_END", 0.0)
    begun(leases.messages("cache", ME, 20, b"*"))
    until(lambda: second.ended)
    begun(leases.messages("cache", ME, 20, b"*"))
    assert leases.find(first.token, ME) is None
    assert leases.find(second.token, ME) is None


def test_subscriptions_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "MOST_LEASES", 2)
    for user in (1, 2):
        begun(leases.messages("cache", user, 30, b"*"))
    with pytest.raises(leases.BusyError, match="running already"):
        leases.messages("cache", 3, 10, b"*")
    with pytest.raises(leases.BusyError, match="10, 20 or 30"):
        leases.messages("cache", 3, 3600, b"*")


@pytest.mark.parametrize(
    ("raw", "size", "text"),
    [
        (b'+1.5 [0 lua] "GET" "a b\\x00"', None, "GET a b\\x00"),
        (b'+1.5 [0 lua] "SET" "k" "unfinished \\x', 9999, "SET k … (9,999 bytes)"),
        (b'+1.5 [0 lua] "SET', 9999, " … (9,999 bytes)"),
        (b'+1.5 [2 unix:/a path/x.sock] "PING"', None, "PING"),
        (b"+strange", None, "(a command that cannot be shown)"),
        (b"", None, "(a command that cannot be shown)"),
        (b'+1.5 [0 x:1] "SETEX" "session:abc123def', 9999, "SETEX … (9,999 bytes)"),
    ],
)
def test_lines_of_monitor(raw: bytes, size: int | None, text: str) -> None:
    _, source, found = leases.monitored(Text(raw, size or len(raw)))
    assert found == text
    assert source.startswith("db ")


def test_a_process_that_dies_leaves_no_connection(cache: Redis) -> None:
    code = (
        "import django, os; django.setup()\n"
        "from cache_admin.traffic import leases\n"
        "leases.messages('cache', 9, 30, b'*').begin()\n"
        "print('begun', flush=True)\nos._exit(0)\n"
    )
    assert "begun" in run(code)
    until(lambda: named(cache, "arcweb-channels") == 0)
