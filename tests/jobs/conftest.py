"""Handlers of a test's own, and the real broker, emptied."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest
from redis import Redis

from arcweb.celery import app
from arcweb.jobs import dispatch, registry

Declare = Callable[..., Callable[[registry.Run], registry.Run]]


@pytest.fixture
def declare(monkeypatch: pytest.MonkeyPatch) -> Declare:
    """`registry.handler`, undone after the test."""
    known = {handler.kind: handler for handler in registry.handlers()}
    monkeypatch.setattr(registry, "_handlers", known)
    return registry.handler


class Broker:
    """The state role that the run's settings point to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch
        with app.connection_for_write() as connection:
            self._redis: Redis = connection.default_channel.client
            self._redis.delete("celery")

    def sent(self) -> list[str]:
        """The ids of the jobs whose messages wait, oldest first; takes them."""
        ids = []
        while (raw := self._redis.rpop("celery")) is not None:
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
        self._monkeypatch.undo()
        dispatch._paused_until = 0.0


@pytest.fixture
def broker() -> Iterator[Broker]:
    dispatch._paused_until, dispatch._away = 0.0, False
    with pytest.MonkeyPatch.context() as own:
        broker = Broker(own)
        yield broker
        broker.sent()
    dispatch._paused_until, dispatch._away = 0.0, False
