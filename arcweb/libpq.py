"""One query to PostgreSQL with a deadline that holds even when the server or its backend is frozen.

psycopg waits for an answer on an open connection without limit; libpq's non-blocking calls do not. No Django.
"""

from __future__ import annotations

import select
import time
from collections.abc import Mapping
from typing import Any

from psycopg import OperationalError
from psycopg.conninfo import make_conninfo
from psycopg.pq import Conninfo, ConnStatus, ExecStatus, PGconn, PollingStatus, abc


def conninfo(database: Mapping[str, Any]) -> str:
    """libpq's words, password included, for an entry of Django's DATABASES, without psycopg's own options."""
    known = {option.keyword.decode() for option in Conninfo.get_defaults()}
    named = {key: value for key, value in database["OPTIONS"].items() if key in known}
    named |= {
        "dbname": database["NAME"],
        "user": database["USER"],
        "password": database["PASSWORD"],
        "host": database["HOST"],
        "port": database["PORT"],
        "application_name": "arcweb-health",
    }
    return make_conninfo("", **{key: value for key, value in named.items() if value not in ("", None)})


class Line:
    """A connection that is asked one query after another. Of one thread at a time; close it in the end.

    Deadlines are of time.monotonic(). Everything raises TimeoutError or psycopg.OperationalError, after
    which the line is of no use any more.
    """

    def __init__(self, where: str, deadline: float) -> None:
        """where: libpq's conninfo. Only the resolution of a host name may outlast the deadline."""
        self._connection = PGconn.connect_start(where.encode())
        try:
            self._connect(deadline)
        except BaseException:
            self.close()
            raise

    def ask(self, query: str, deadline: float) -> list[str | None]:
        """The first row of the query, as text."""
        connection = self._connection
        connection.send_query(query.encode())
        row: list[str | None] | None = None
        while (result := self._next_result(deadline)) is not None:
            if result.status != ExecStatus.TUPLES_OK:
                raise OperationalError(self._message())
            if row is None:
                values = [result.get_value(0, column) for column in range(result.nfields)]
                row = [None if value is None else bytes(value).decode() for value in values]
        if row is None:
            raise OperationalError(self._message())
        return row

    def close(self) -> None:
        """Never waits for the server."""
        self._connection.finish()

    def _next_result(self, deadline: float) -> abc.PGresult | None:
        while self._connection.is_busy():
            _wait_for(self._connection.socket, select.POLLIN, deadline)
            self._connection.consume_input()
        return self._connection.get_result()

    def _connect(self, deadline: float) -> None:
        event = select.POLLOUT
        while self._connection.status != ConnStatus.BAD:
            _wait_for(self._connection.socket, event, deadline)
            step = self._connection.connect_poll()
            if step == PollingStatus.OK:
                return
            if step == PollingStatus.FAILED:
                break
            event = select.POLLOUT if step == PollingStatus.WRITING else select.POLLIN
        raise OperationalError(self._message())

    def _message(self) -> str:
        return self._connection.error_message.decode(errors="replace").strip()


def ask(where: str, query: str, deadline: float) -> list[str | None]:
    """The first row of the query as text, over a connection of its own. As Line, for once."""
    line = Line(where, deadline)
    try:
        return line.ask(query, deadline)
    finally:
        line.close()


def _wait_for(socket: int, event: int, deadline: float) -> None:
    poller = select.poll()
    poller.register(socket, event)
    if not poller.poll(max(0.0, deadline - time.monotonic()) * 1000):
        raise TimeoutError
