"""One look at each server: short, with deadlines of its own, never raising for a sick server.

Each probe keeps what it needs from look to look, such as an open connection, and is used by one thread.
"""

from __future__ import annotations

import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta

from django.db import connections
from psycopg import OperationalError
from redis import Redis
from redis.exceptions import AuthenticationError, BusyLoadingError, RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeout

from arcweb import beat, servers
from arcweb.health import check_celery, explain_postgres, silent_postgres
from arcweb.libpq import Line, conninfo
from arcweb.servers import Finding
from cache_admin import connections as redis_connections
from cache_admin.connections import Role

#: Seconds: for an answer on an open connection, and for a new connection with an answer.
ANSWER_SECONDS = 0.4
CONNECT_SECONDS = 0.5
#: Looks after which the kept connection is replaced: one on it proves nothing about new ones.
RENEW_EVERY = 20
#: Seconds without a sign after which beat is away; it leaves one every two.
BEAT_AWAY_AFTER = 8.0

SILENT = "it does not answer"
#: Fact of a Redis that answers and takes no changes.
UNSAVED = "unsaved"


class PostgresProbe:
    """A query on a kept connection; when that brings nothing, one on a new connection, which decides."""

    def __init__(self) -> None:
        self._line: Line | None = None
        self._looks = 0

    def renew(self) -> None:
        """The next look is at a new connection: something failed that the kept one may not show."""
        self.close()

    def close(self) -> None:
        if self._line is not None:
            self._line.close()
        self._line = None

    def __call__(self) -> Finding:
        started = time.monotonic()
        self._looks += 1
        if self._looks % RENEW_EVERY == 0:
            self.close()
        if self._line is not None:
            try:
                self._line.ask("SELECT 1", started + ANSWER_SECONDS)
            except (TimeoutError, OperationalError):
                self.close()
            else:
                return _well(started)
        try:
            deadline = time.monotonic() + CONNECT_SECONDS
            self._line = Line(conninfo(connections["default"].settings_dict), deadline)
            self._line.ask("SELECT 1", deadline)
        except TimeoutError:
            self.close()
            # Certain only when two connections were silent, for about a second together.
            sure = time.monotonic() - started > (ANSWER_SECONDS + CONNECT_SECONDS) * 0.9
            return Finding(False, silent_postgres(CONNECT_SECONDS), SILENT, certain=sure)
        except OperationalError as error:
            self.close()
            return _refused_by_postgres(str(error), started)
        return _well(started)


def _refused_by_postgres(message: str, started: float) -> Finding:
    if "too many" in message or "remaining connection slots" in message:
        # It answers; pages have connections of their own, and say it when they get none.
        return Finding(True, explain_postgres(message), facts={"milliseconds": _since(started)})
    signs = {
        "starting up": "it is starting",
        "recovery": "it is recovering from a crash",
        "shutting down": "it is shutting down",
        "authentication failed": "it refuses the login",
    }
    reason = next((text for sign, text in signs.items() if sign in message), "it takes no connections")
    return Finding(False, explain_postgres(message), reason)


class RedisProbe:
    """A PING on a kept connection. Up is also who reads and does not write, as with a full disk."""

    def __init__(self, role: Role) -> None:
        self._role = role
        self._client: Redis | None = None

    def __call__(self) -> Finding:
        started = time.monotonic()
        if self._client is None:
            self._client = redis_connections.client(self._role, timeout=ANSWER_SECONDS)
        try:
            takes_changes = redis_connections.takes_changes(self._client)
        except RedisError as error:
            silent = isinstance(error, RedisTimeout)
            return Finding(
                False, redis_connections.explain(self._role, error), _reason(error), certain=not silent
            )
        if not takes_changes:
            said = "It answers and takes no changes: it could not save its data."
            return Finding(True, said, facts={"milliseconds": _since(started), UNSAVED: True})
        return _well(started)

    def close(self) -> None:
        if self._client is not None:
            with suppress(RedisError):
                self._client.close()
        self._client = None

    def renew(self) -> None:
        """Nothing: its client connects anew after every error."""


def _reason(error: RedisError) -> str:
    if isinstance(error, RedisTimeout):
        return SILENT
    if isinstance(error, BusyLoadingError):
        return "it is loading its data"
    if isinstance(error, (AuthenticationError, ResponseError)):
        return "it refuses the login"
    return "it takes no connections"


class WorkerProbe:
    """Asks the workers through the broker; every queue must have one."""

    def __call__(self) -> Finding:
        if gone := _broker_is_away():
            return gone
        result = check_celery()
        if result.ok:
            return Finding(True, result.sentence, facts=result.facts)
        if not result.facts and servers.state_of("redis-state").up is not True:
            return Finding(None, result.sentence, "its queue does not answer")
        idle = [name for name, queue in result.facts.get("queues", {}).items() if not queue["workers"]]
        reason = f"none serves the queue {' or '.join(idle)}" if result.facts.get("workers") else SILENT
        reason = _broker_takes_no_changes() or reason
        # A worker may be busy for a second: asked twice.
        return Finding(False, result.sentence, reason, result.facts, certain=False)

    def close(self) -> None:
        pass

    def renew(self) -> None:
        pass


class BeatProbe(RedisProbe):
    """Reads beat's sign of life."""

    def __init__(self) -> None:
        super().__init__("state")
        self._missing_since: float | None = None

    def __call__(self) -> Finding:
        if gone := _broker_is_away():
            return gone
        if self._client is None:
            self._client = redis_connections.client("state", timeout=ANSWER_SECONDS)
        try:
            age = beat.sign_age(self._client)
        except RedisError as error:
            return Finding(None, redis_connections.explain("state", error), "its sign of life cannot be read")
        if age is None:
            # Redis is empty, or beat was never started: give it the time to sign.
            self._missing_since = self._missing_since or time.monotonic()
            silence = time.monotonic() - self._missing_since
        else:
            self._missing_since = None
            silence = age
        if silence <= BEAT_AWAY_AFTER:
            known = age is not None
            sentence = f"Celery beat left its last sign of life {silence:.0f} s ago."
            return Finding(True if known else None, sentence if known else "Celery beat left no sign yet.")
        # Nobody could sign while Redis was away.
        if servers.state_of("redis-state").seconds <= BEAT_AWAY_AFTER:
            return Finding(None, "Redis (state role) is just back; Celery beat has not signed since.")
        last = "no sign" if age is None else f"no sign for {servers.duration(age)}"
        return Finding(
            False,
            f"Celery beat has left {last}: `make run` runs it; by hand it is `celery -A arcweb beat`. If it "
            "runs, its log says what keeps it.",
            _broker_takes_no_changes() or f"it has left {last}",
            since=datetime.now(UTC) - timedelta(seconds=silence),
        )


def _broker_takes_no_changes() -> str:
    """Why worker and beat cannot go on while Redis answers, fit for a banner; "" when it is not that."""
    if not servers.state_of("redis-state").facts.get(UNSAVED):
        return ""
    return f"{servers.TITLES['redis-state']} takes no changes, since it could not save its data"


def _broker_is_away() -> Finding | None:
    state = servers.state_of("redis-state")
    if state.up is not False:
        return None
    return Finding(
        None,
        f"Unknown, because it is asked through Redis (state role), which is away. {state.sentence}",
        "it is asked through Redis (state role), which is away",
    )


def _well(started: float) -> Finding:
    milliseconds = _since(started)
    return Finding(True, f"It answers in {milliseconds:g} ms.", facts={"milliseconds": milliseconds})


def _since(started: float) -> float:
    return round((time.monotonic() - started) * 1000, 1)
