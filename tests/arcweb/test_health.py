"""Health: every check answers within its deadline, in words, whatever state its server is in."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from django.db import connections
from pytest_django.fixtures import Settings
from redis import Redis

from arcweb import health
from arcweb.celery import app as celery_app
from arcweb.embedded.stack import Stack
from arcweb.health import CHECKS, HealthResult, check_all, check_celery, check_postgres, check_redis
from tests.waiting import until

ROOT = Path(__file__).resolve().parents[2]
ON_TIME = 30 * health.DEADLINE  # seconds, on a busy machine; what is frozen here stays so for longer
#: A busy machine misses the deadline of a check now and then, which is not the point of most tests.
patient = pytest.mark.usefixtures("patient")


@pytest.fixture
def database(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Changes entries of the default database for this test, without connecting Django to it."""

    def change(**values: Any) -> None:
        for name, value in values.items():
            monkeypatch.setitem(connections["default"].settings_dict, name, value)

    change(NAME="arc")
    return change


@pytest.fixture
def other_stack(
    throwaway_stack: Callable[..., Stack], database: Callable[..., None], settings: Settings
) -> Stack:
    """Servers of this test alone, which Django's settings point to."""
    stack = throwaway_stack()
    database(HOST=str(stack.layout.socket_dir), PASSWORD=stack.layout.read_secret("postgres-password"))
    settings.REDIS_URL = stack.layout.redis_url("cache")
    settings.REDIS_STATE_URL = stack.layout.redis_url("state")
    return stack


@pytest.fixture(name="patient")
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "DEADLINE", ON_TIME)
    monkeypatch.setattr(health, "STEP_SECONDS", ON_TIME / 2)


def timed(check: Callable[[], HealthResult]) -> HealthResult:
    started = time.monotonic()
    result = check()
    assert time.monotonic() - started < ON_TIME
    return result


@patient
def test_postgres_says_version_and_connections(database: Callable[..., None]) -> None:
    result = timed(check_postgres)
    assert result.ok, result.sentence
    assert result.facts["version"].startswith("18.")
    assert result.facts["pgvector"]
    assert 0 < result.facts["connections"] <= result.facts["max_connections"]
    assert not result.facts["standby"]


@patient
@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"PASSWORD": "wrong-and-private"}, "POSTGRES_PASSWORD must be"),
        ({"NAME": "nowhere"}, "correct POSTGRES_DB"),
        ({"NAME": "postgres"}, "lacks the extension vector"),
        ({"HOST": "/nowhere"}, "it is not running"),
        ({"HOST": "127.0.0.1", "PORT": "1"}, "nothing listens there"),
    ],
)
def test_postgres_says_what_is_wrong_and_what_to_do(
    database: Callable[..., None], values: dict[str, str], words: str
) -> None:
    database(**values)
    result = timed(check_postgres)
    assert not result.ok
    assert words in result.sentence
    assert "wrong-and-private" not in result.sentence
    assert "\n" not in result.sentence


@patient
@pytest.mark.parametrize("role", ["cache", "state"])
def test_redis_says_version_memory_and_policy(role: Any) -> None:
    result = timed(lambda: check_redis(role))
    assert result.ok, result.sentence
    assert result.name == f"redis-{role}"
    assert result.facts["server"] == "valkey"
    assert result.facts["used_bytes"] > 0
    assert result.facts["append_only"] is (role == "state")
    assert "may evict" not in result.sentence


@patient
def test_redis_says_what_is_wrong_and_shows_no_password(settings: Settings) -> None:
    socket = settings.ARC_LAYOUT.valkey_socket("state")
    settings.REDIS_STATE_URL = f"unix://:wrong-and-private@{socket}?db=0"
    refused = timed(lambda: check_redis("state"))
    settings.REDIS_STATE_URL = "redis://:wrong-and-private@127.0.0.1:1/0"
    away = timed(lambda: check_redis("state"))
    assert not refused.ok
    assert "REDIS_STATE_URL must hold" in refused.sentence
    assert not away.ok
    assert "localhost:1" in away.sentence
    assert "wrong-and-private" not in refused.sentence + away.sentence


@patient
def test_redis_that_refuses_writes_is_not_well(other_stack: Stack, settings: Settings) -> None:
    with Redis.from_url(settings.REDIS_STATE_URL) as state:
        state.config_set("maxmemory", "1mb")
        full = check_redis("state")
        state.config_set("maxmemory-policy", "allkeys-lru")
        evicting = check_redis("state")
        state.config_set("maxmemory", "0")
        state.replicaof("127.0.0.1", "1")
        replica = check_redis("state")
    assert not full.ok
    assert "is full and refuses writes" in full.sentence
    assert evicting.ok
    assert "may evict queued tasks" in evicting.sentence
    assert not replica.ok
    assert "is a replica" in replica.sentence


@patient
def test_redis_without_the_right_to_info_is_told_as_unknown(other_stack: Stack, settings: Settings) -> None:
    with Redis.from_url(settings.REDIS_STATE_URL) as state:
        state.execute_command("ACL", "SETUSER", "limited", "on", ">pw", "~*", "+@all", "-info")
    settings.REDIS_STATE_URL = f"unix://limited:pw@{other_stack.layout.valkey_socket('state')}?db=0"
    result = check_redis("state")
    assert result.ok
    assert "ACL forbids INFO" in result.sentence


def test_frozen_servers_are_told_in_time(other_stack: Stack) -> None:
    processes = [process for server in other_stack.servers if (process := server.process()) is not None]
    everything = [child for process in processes for child in (process, *process.children(recursive=True))]
    assert len(processes) == 3
    threads = threading.active_count()
    for process in everything:
        process.send_signal(signal.SIGSTOP)
    try:
        started = time.monotonic()
        results = check_all()
        took = time.monotonic() - started
        # A prober that asks every few seconds must not pile up threads that wait for a thaw.
        until(lambda: threading.active_count() <= threads)
    finally:
        for process in everything:
            process.send_signal(signal.SIGCONT)
    assert took < ON_TIME
    assert [result.name for result in results] == ["postgres", "redis-cache", "redis-state", "celery"]
    for result in results:
        assert not result.ok
        assert "did not answer" in result.sentence


@patient
def test_killed_servers_are_told_with_what_to_do(other_stack: Stack) -> None:
    other_stack.stop()
    for result in check_all():
        assert not result.ok
        assert "`manage.py embedded start` starts it" in result.sentence


def test_a_check_that_hangs_is_given_up_and_one_that_breaks_is_not_hidden(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(health, "DEADLINE", 0.1)
    monkeypatch.setattr(health, "_probe_postgres", lambda: time.sleep(5))
    result = check_postgres()
    assert not result.ok
    assert "did not answer within 0.1 s" in result.sentence
    monkeypatch.setattr(health, "_probe_postgres", lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        check_all(["postgres"])


def test_an_app_adds_a_check_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "CHECKS", {})

    def check_disk() -> HealthResult:
        return HealthResult("disk", ok=True, sentence="The disk has room.")

    for _ in range(2):
        health.register_health("disk", check_disk)
    assert check_all() == check_all(["disk"]) == [check_disk()]


def eventually(
    check: Callable[[], HealthResult], true: Callable[[HealthResult], bool], seconds: float = 200
) -> HealthResult:
    """The first result of which that is true."""
    end = time.monotonic() + seconds
    while not true(result := timed(check)):
        assert time.monotonic() < end, result.sentence
    return result


@contextmanager
def celery_worker(settings: Settings, *options: str) -> Iterator[None]:
    worker = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "celery",
            "-A",
            "arcweb",
            "worker",
            "--pool=solo",
            "--hostname=tested@here",
            *options,
        ],
        cwd=ROOT,
        env={**os.environ, "REDIS_URL": settings.REDIS_URL, "REDIS_STATE_URL": settings.REDIS_STATE_URL},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield
    finally:
        worker.terminate()
        worker.wait(90)


def test_celery_counts_workers_and_waiting_tasks(settings: Settings) -> None:
    with Redis.from_url(settings.REDIS_STATE_URL) as state:
        # Other tests queue jobs that nobody takes.
        state.delete("arcweb:celery:celery", "arcweb:celery:quick")
        state.rpush("arcweb:celery:celery", "one")
        alone = eventually(check_celery, lambda result: bool(result.facts))
        state.delete("arcweb:celery:celery")
    assert not alone.ok
    assert "No Celery worker answered" in alone.sentence
    assert alone.facts["workers"] == []
    assert {name: queue["waiting"] for name, queue in alone.facts["queues"].items()} == {
        "celery": 1,
        "quick": 0,
    }
    with celery_worker(settings):
        result = eventually(check_celery, lambda result: result.ok)
        served = {"workers": ["tested@here"], "waiting": 0}
        assert result.facts == {"workers": ["tested@here"], "queues": {"celery": served, "quick": served}}


def test_celery_says_which_queue_has_no_worker(settings: Settings) -> None:
    with celery_worker(settings, "--queues=celery"):
        result = eventually(check_celery, lambda result: bool(result.facts.get("workers")))
    assert not result.ok
    assert "none serves the queue quick" in result.sentence
    assert "--queues quick" in result.sentence


def test_what_must_happen_within_seconds_does_not_wait_behind_long_jobs(settings: Settings) -> None:
    urgent = ["arcweb.jobs.tasks.reconcile", "memories.tasks.embed_pending", "arcweb.events.tasks.anything"]
    with Redis.from_url(settings.REDIS_STATE_URL) as state:
        state.delete("arcweb:celery:celery", "arcweb:celery:quick")
        try:
            for name in [*urgent, "arcweb.jobs.tasks.run_job"]:
                celery_app.send_task(name)
            lengths = [state.llen(f"arcweb:celery:{queue}") for queue in ("quick", "celery")]
        finally:
            state.delete("arcweb:celery:celery", "arcweb:celery:quick")
    assert lengths == [3, 1]


def manage_health(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "manage.py", "health", *arguments],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )


def test_the_command_prints_json_and_exits_0_when_all_is_well() -> None:
    answers: list[dict[str, Any]] = []

    def well() -> bool:
        """A busy machine may miss the deadline."""
        done = manage_health("redis", "--json")
        answers.append(json.loads(done.stdout))
        return done.returncode == 0

    until(well, 120)
    answer = answers[-1]
    assert answer["ok"] is True
    assert [check["name"] for check in answer["checks"]] == ["redis-cache", "redis-state"]
    until(lambda: manage_health("postgres").stdout.startswith("ok    PostgreSQL"), 120)


def test_the_command_exits_1_with_a_sentence_for_each_when_nothing_runs(tmp_path: Path) -> None:
    done = manage_health(ARC_DATA_DIR=str(tmp_path), REDIS_URL="", REDIS_STATE_URL="")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 1 + sum(len(checks) for checks in CHECKS.values()) - 1
    assert all(line.startswith("FAIL  ") for line in lines)
