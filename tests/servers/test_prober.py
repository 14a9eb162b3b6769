"""The prober: knows within about a second what is away, is not fooled by one slow look, and ends."""

from __future__ import annotations

import os
import re
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from django.db import connections
from redis import Redis

from arcweb import beat, prober, probes, servers
from arcweb.embedded.stack import Stack
from arcweb.prober import Prober, Watch
from arcweb.probes import BEAT_AWAY_AFTER, UNSAVED, BeatProbe, PostgresProbe, RedisProbe, WorkerProbe
from arcweb.servers import Finding
from tests.servers.frozen import frozen, whole
from tests.waiting import until


@pytest.fixture
def own(throwaway_stack: Callable[..., Stack], settings: Any, monkeypatch: pytest.MonkeyPatch) -> Stack:
    """Servers of this test alone, which settings point to."""
    stack = throwaway_stack()
    values = {
        "NAME": "arc",
        "HOST": str(stack.layout.socket_dir),
        "PASSWORD": stack.layout.read_secret("postgres-password"),
    }
    for name, value in values.items():
        monkeypatch.setitem(connections["default"].settings_dict, name, value)
    settings.REDIS_URL = stack.layout.redis_url("cache")
    settings.REDIS_STATE_URL = stack.layout.redis_url("state")
    return stack


@pytest.fixture
def running(own: Stack) -> Iterator[Prober]:
    before = threading.active_count()
    running = Prober()
    running.start()
    yield running
    running.stop()
    until(lambda: threading.active_count() <= before)
    assert servers.state_of("postgres").up is None


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A look that is late is none here."""
    monkeypatch.setattr(probes, "ANSWER_SECONDS", 60)
    monkeypatch.setattr(probes, "CONNECT_SECONDS", 60)


def known(name: Any, up: bool | None) -> bool:
    return servers.state_of(name).up is up


def test_freezing_and_thawing_is_known(own: Stack, running: Prober) -> None:
    names: list[Any] = ["postgres", "redis-cache", "redis-state"]
    for name, server in zip(names, own.servers, strict=True):
        until(lambda name=name: known(name, True))
        with frozen(whole(server.process())):
            took = until(lambda name=name: known(name, False))
            state = servers.state_of(name)
            print(f"{name} frozen: known after {took:.2f} s")
            assert state.reason == "it does not answer"
            assert "did not answer" in state.sentence
            since = state.since
            until(lambda name=name: servers.state_of(name).seconds > 1)
            assert servers.state_of(name).since == since
            for other in names:
                if other != name:
                    until(lambda other=other: known(other, True))
        print(f"{name} thawed: known after {until(lambda name=name: known(name, True)):.2f} s")


def test_a_killed_server_is_known_when_it_is_suspected(
    own: Stack, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    seldom = replace(prober.WATCHES["redis-cache"], every=600)
    monkeypatch.setattr(prober, "WATCHES", {"redis-cache": seldom})
    request.getfixturevalue("running")
    until(lambda: known("redis-cache", True))
    os.kill(own.servers[1].process().pid, signal.SIGKILL)  # type: ignore[union-attr]
    servers.suspect("redis-cache")
    until(lambda: known("redis-cache", False))
    assert servers.state_of("redis-cache").reason == "it takes no connections"


def test_what_is_asked_through_redis_is_unknown_without_it(own: Stack, running: Prober) -> None:
    until(lambda: known("redis-state", True))
    with frozen(whole(own.servers[2].process())):
        until(lambda: known("redis-state", False))
        running.suspect("worker")
        running.suspect("beat")
        until(lambda: "Redis (state role), which is away" in servers.state_of("worker").sentence)
        until(lambda: "Redis (state role), which is away" in servers.state_of("beat").sentence)
        assert known("worker", None)
        assert known("beat", None)


def test_one_slow_look_is_not_away(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = iter([Finding(True), Finding(False, certain=False), Finding(True)])
    seen: list[bool | None] = []

    class Scripted:
        def __call__(self) -> Finding:
            seen.append(servers.state_of("redis-cache").up)
            return next(looks, Finding(True))

        def renew(self) -> None: ...
        def close(self) -> None: ...

    monkeypatch.setattr(prober, "WATCHES", {"redis-cache": Watch(Scripted, 0.01)})
    running = Prober()
    running.start()
    until(lambda: len(seen) > 4)
    running.stop()
    assert False not in seen


def test_beat_is_away_after_no_sign_and_well_after_one(own: Stack, settings: Any) -> None:
    servers.board.note("redis-state", Finding(True))
    probe = BeatProbe()
    first = probe()
    assert first.up is None, "beat may be about to start"
    with Redis.from_url(settings.REDIS_STATE_URL) as state:
        state.set(beat.KEY, "alive", ex=beat.KEPT)
        assert probe().up is True
        state.expire(beat.KEY, beat.KEPT - 60)
        just_back = probe()
        assert just_back.up is None, "nobody could sign while Redis was away"
        servers.board.clear()
        long_ago = datetime.now(UTC) - timedelta(seconds=2 * BEAT_AWAY_AFTER)
        servers.board.note("redis-state", Finding(True, since=long_ago))
        gone = probe()
        servers.board.note("redis-state", Finding(True, facts={UNSAVED: True}))
        for of in (probe, WorkerProbe()):
            assert of().reason == "Redis (state role) takes no changes, since it could not save its data"
    probe.close()
    servers.board.clear()
    assert gone.up is False
    assert re.fullmatch(r"it has left no sign for 6\d s", gone.reason)
    assert "celery -A arcweb beat" in gone.sentence


@pytest.mark.usefixtures("patient")
def test_full_is_not_away(own: Stack) -> None:
    dsn = psycopg.conninfo.make_conninfo(
        "", host=str(own.layout.socket_dir), dbname="arc", user="arc",
        password=own.layout.read_secret("postgres-password"),
    )  # fmt: skip
    held = []
    try:
        while len(held) < 500:
            held.append(psycopg.connect(dsn))
    except psycopg.OperationalError:
        finding = PostgresProbe()()
    finally:
        for connection in held:
            connection.close()
    assert finding.up is True, finding.sentence
    assert "raise max_connections" in finding.sentence


@pytest.mark.usefixtures("patient")
def test_looks_share_a_connection(own: Stack, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = []

    class Counted(probes.Line):
        def __init__(self, *args: Any) -> None:
            lines.append(args)
            super().__init__(*args)

    def received() -> int:
        return int(cache.info("stats")["total_connections_received"])

    monkeypatch.setattr(probes, "Line", Counted)
    few = 2 * (100 // probes.RENEW_EVERY + 1)
    with Redis.from_url(settings.REDIS_URL) as cache:
        before = received()
        for probe in (PostgresProbe(), RedisProbe("cache")):
            for _ in range(100):
                assert probe().up
            probe.close()
        assert received() - before <= few
    assert len(lines) <= few


@pytest.mark.usefixtures("own")
def test_a_process_that_is_forked_later_has_a_prober_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    assert prober.keep_running.running is None, "tests and commands have none"
    prober.keep_running()
    _, first = prober.keep_running.running or (0, None)
    assert first is not None
    prober.keep_running()
    assert prober.keep_running.running == (os.getpid(), first), "one is enough"
    monkeypatch.setattr(prober.keep_running, "running", (os.getpid() + 1, first))
    prober.keep_running()
    _, second = prober.keep_running.running or (0, None)
    assert second is not None
    assert second is not first
    first.stop()
    second.stop()
    monkeypatch.setattr(prober.keep_running, "running", None)
