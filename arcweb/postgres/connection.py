"""A psycopg connection whose waiting somebody watches. No Django.

psycopg waits for an answer without limit, and a backend that is stopped gives none, whatever the
statement timeout. Every wait of psycopg, of statements, COPY, pipelines and server-side cursors alike,
goes through `Connection.wait`, which asks a generator at least every tenth of a second: there we look.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from typing import Any, Self, TypeVar

import psycopg
from psycopg.abc import RV, PQGen, PQGenConn
from psycopg.pq import TransactionStatus
from psycopg.rows import Row

#: Told while nothing comes: seconds of silence. Raises ServerSilent to end the waiting.
Guard = Callable[[float], None]
INTERVAL = 0.1  # seconds; psycopg's own
WantedT = TypeVar("WantedT")


class ServerSilent(psycopg.OperationalError):
    """The server is away, or was silent for longer than it may be; the connection is closed."""


class GuardedConnection(psycopg.Connection[Row]):
    """As its parent; `guard`, once set, may end any wait. Then the connection is closed, without waiting."""

    guard: Guard | None = None

    def wait(self, gen: PQGen[RV], interval: float = INTERVAL, timeout: float | None = None) -> RV:
        if self.guard is None:
            return super().wait(gen, interval, timeout)
        try:
            return super().wait(_watched(gen, self._look), interval, timeout)
        except ServerSilent:
            self.pgconn.finish()
            raise

    def _look(self, silence: float) -> None:
        # Waiting for a notification is no silence of the server's.
        idle = self.pgconn.transaction_status in (TransactionStatus.IDLE, TransactionStatus.INTRANS)
        if self.guard is not None:
            self.guard(0.0 if idle else silence)

    @classmethod
    def _connect_gen(cls, conninfo: str = "") -> PQGenConn[Self]:
        guard: Guard | None = getattr(_connecting, "guard", None)
        connecting = super()._connect_gen(conninfo)
        return connecting if guard is None else _watched(connecting, guard)


_connecting = threading.local()


@contextmanager
def connecting(guard: Guard | None) -> Iterator[None]:
    """Connections that this thread makes inside are watched by that guard until they are made."""
    _connecting.guard = guard
    try:
        yield
    finally:
        _connecting.guard = None


def _watched(gen: Generator[WantedT, Any, RV], guard: Guard) -> Generator[WantedT, Any, RV]:
    """`gen` itself, with the guard told of each pause: its consumer sends 0 when nothing was ready."""
    heard = time.monotonic()
    ready: Any = None
    while True:
        try:
            wanted = gen.send(ready)
        except StopIteration as end:
            result: RV = end.value
            return result
        ready = yield wanted
        if ready:
            heard = time.monotonic()
        else:
            guard(time.monotonic() - heard)
