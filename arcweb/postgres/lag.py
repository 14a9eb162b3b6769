"""Looks at the replica twice a second, in a web process: does it answer, and how far is it behind?

The lag is measured from outside, by one clock: where the primary's WAL stood at each look is remembered, and
the replica is as old as the first place that it has not replayed. Unlike the replica's own time of its last
transaction this is right on a primary without writes, with a delayed, paused or disconnected replica.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from contextlib import suppress

from django.conf import settings
from django.db import DEFAULT_DB_ALIAS, connections
from psycopg import OperationalError

from arcweb.charts import size
from arcweb.libpq import Line, conninfo
from arcweb.per_process import OncePerProcess
from arcweb.postgres import replica
from arcweb.postgres.replica import MOST_BEHIND, REPLICA, State
from arcweb.servers import duration

logger = logging.getLogger(__name__)
#: Seconds: between two looks; for an answer, and for a new connection with an answer.
EVERY = 0.5
ANSWER_SECONDS = 0.4
CONNECT_SECONDS = 0.8
#: Looks after which the kept connections are replaced: an old one proves nothing about new ones.
RENEW_EVERY = 20
#: Places that are remembered: four hours of a primary that writes all the time.
MOST_PLACES = 28_800

PRIMARY_ASKED = """
    SELECT pg_is_in_recovery(), CASE WHEN NOT pg_is_in_recovery() THEN pg_current_wal_lsn() - '0/0' END,
           (SELECT system_identifier FROM pg_control_system())
"""
REPLICA_ASKED = """
    SELECT pg_is_in_recovery(), pg_last_wal_replay_lsn() - '0/0',
           (SELECT system_identifier FROM pg_control_system())
"""


class Course:
    """Where the primary was, and when: tells the age of a place. Seconds of time.monotonic()."""

    def __init__(self) -> None:
        self._ahead: deque[tuple[float | None, int]] = deque(maxlen=MOST_PLACES)
        self._last: tuple[float | None, int] = (None, -1)

    def seen(self, place: int, now: float) -> None:
        """The primary is there now; what is new was written after the look before."""
        before, known = self._last
        if place != known:
            self._ahead.append((before, place))
        self._last = (now, place)

    def age(self, replayed: int, now: float) -> float | None:
        """Seconds that a replica at that place is behind; None: the place is older than the first look."""
        while self._ahead and self._ahead[0][1] <= replayed:
            self._ahead.popleft()
        if not self._ahead:
            return 0.0
        since = self._ahead[0][0]
        return None if since is None else now - since


class Probe:
    """Of one thread. Keeps a connection to each of the two."""

    def __init__(self) -> None:
        self._where = {name: conninfo(connections.settings[name]) for name in (DEFAULT_DB_ALIAS, REPLICA)}
        self._lines: dict[str, Line] = {}
        self._looks = 0
        self._course = Course()

    def __call__(self) -> State:
        self._looks += 1
        if self._looks % RENEW_EVERY == 0:
            self.close()
        try:
            recovering, place, cluster = self._ask(DEFAULT_DB_ALIAS, PRIMARY_ASKED)
        except (TimeoutError, OperationalError):
            return State(None, "the primary does not answer, so that nobody knows how far the replica is")
        if recovering == "t" or place is None:
            return State(None, "POSTGRES_HOST names a replica itself")
        now = time.monotonic()
        self._course.seen(int(place), now)
        try:
            recovering, replayed, of = self._ask(REPLICA, REPLICA_ASKED)
        except TimeoutError:
            return State(False, "the replica does not answer")
        except OperationalError as error:
            return State(False, f"the replica takes no connection ({_short(error)})")
        if recovering != "t":
            return State(True, "POSTGRES_REPLICA_HOST names a server that is no replica (any more)")
        if of != cluster:
            return State(True, "POSTGRES_REPLICA_HOST names the replica of another server")
        if replayed is None:
            return State(True, "the replica has replayed nothing yet")
        behind, seconds = max(0, int(place) - int(replayed)), self._course.age(int(replayed), now)
        return State(True, _trouble(behind, seconds), int(replayed), behind, seconds)

    def close(self) -> None:
        for line in self._lines.values():
            line.close()
        self._lines.clear()

    def _ask(self, name: str, query: str) -> list[str | None]:
        deadline = time.monotonic() + ANSWER_SECONDS
        try:
            if name not in self._lines:
                deadline = time.monotonic() + CONNECT_SECONDS
                self._lines[name] = Line(self._where[name], deadline)
            return self._lines[name].ask(query, deadline)
        except (TimeoutError, OperationalError):
            if line := self._lines.pop(name, None):
                line.close()
            raise


def _trouble(behind: int, seconds: float | None) -> str:
    if seconds is None:
        return f"it is not known yet for how long the replica is behind ({size(behind)})"
    if seconds > settings.ARC_REPLICA_MAX_LAG_SECONDS:
        return f"the replica is {duration(seconds)} behind ({size(behind)})"
    if behind > MOST_BEHIND:
        return f"the replica is {size(behind)} behind"
    return ""


def _short(error: Exception) -> str:
    return (str(error).strip().splitlines() or ["no reason given"])[-1][:200]


class Looker:
    """The thread that looks; `stop` ends it, and nothing is read from the replica any more."""

    def __init__(self) -> None:
        self._stopping, self._wake = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="replica", daemon=True)

    def start(self) -> None:
        replica.watch(self._wake.set)
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._wake.set()
        self._thread.join(10)
        replica.watch(None)

    def _run(self) -> None:
        probe = Probe()
        while not self._stopping.is_set():
            self._wake.clear()
            try:
                replica.note(probe())
            except Exception:
                logger.exception("The look at the replica failed.")
                replica.note(State(None, "the look at it failed; the web process's log says why"))
            self._wake.wait(EVERY)
        with suppress(OperationalError):
            probe.close()


def _start() -> Looker:
    looker = Looker()
    looker.start()
    return looker


_once = OncePerProcess(_start)


def keep_running() -> None:
    """See to it that this process has a looker, if there is a replica. Costs nothing when there is none."""
    if replica.configured():
        _once()
