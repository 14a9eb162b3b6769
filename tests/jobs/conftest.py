"""Handlers of a test's own, and the real broker, emptied."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest
from django.db import connection
from redis import Redis

from arcweb.celery import app
from arcweb.jobs import dispatch, ledger, registry
from arcweb.jobs.models import Job

Declare = Callable[..., Callable[[registry.Run], registry.Run]]


@pytest.fixture
def declare(monkeypatch: pytest.MonkeyPatch) -> Declare:
    """`registry.handler`, undone after the test."""
    known = {handler.kind: handler for handler in registry.handlers()}
    monkeypatch.setattr(registry, "_handlers", known)
    return registry.handler


@pytest.fixture
def job(declare: Declare) -> Callable[..., Job]:
    """Queues a job that the given function runs; `options` go to its handler."""

    def make(run: Any, options: dict[str, Any] | None = None, **values: Any) -> Job:
        declare("dig", label="Dig", unit="spades", max_attempts=2, **(options or {}))(run)
        return ledger.enqueue("dig", target="garden", params={"depth": 3}, **values)

    return make


def ran(job: Job) -> Job:
    ledger.run(job.pk)
    job.refresh_from_db()
    return job


def in_thread(function: Callable[[], Any]) -> threading.Thread:
    def run() -> None:
        try:
            function()
        finally:
            connection.close()

    thread = threading.Thread(target=run)
    thread.start()
    return thread


class Broker:
    """The state role that the run's settings point to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch
        self._usual = dispatch._connections
        with app.connection_for_write() as connection:
            self._redis: Redis = connection.default_channel.client
            self._redis.delete("celery", "quick")

    def sent(self, queue: str = "celery") -> list[str]:
        """The ids of the jobs whose messages wait in that queue, oldest first; takes them."""
        ids = []
        while (raw := self._redis.rpop(queue)) is not None:
            message: dict[str, Any] = json.loads(cast("bytes", raw))
            assert message["headers"]["task"] == "arcweb.jobs.tasks.run_job"
            ids.append(message["headers"]["argsrepr"].strip("[]'"))
        return ids

    def away(self) -> None:
        """From now on this process talks to a port where nobody listens."""
        nowhere = app.connection_for_write(
            "redis://127.0.0.1:1/0", transport_options=dispatch.IMPATIENT
        ).Pool(1)
        self._monkeypatch.setattr(dispatch, "_connections", lambda pid: nowhere)

    def back(self) -> None:
        self._monkeypatch.setattr(dispatch, "_connections", self._usual)
        dispatch._paused_until = 0.0


@pytest.fixture
def broker() -> Iterator[Broker]:
    dispatch._paused_until, dispatch._away = 0.0, False
    # A busy machine's broker is late, not away.
    patient = dispatch.IMPATIENT | {"socket_timeout": 10.0, "socket_connect_timeout": 10.0}
    pool = app.connection_for_write(transport_options=patient).Pool(limit=8)
    with pytest.MonkeyPatch.context() as own:
        own.setattr(dispatch, "_connections", lambda pid: pool)
        broker = Broker(own)
        yield broker
        broker.sent()
        broker.sent("quick")
    pool.force_close_all()
    dispatch._paused_until, dispatch._away = 0.0, False
