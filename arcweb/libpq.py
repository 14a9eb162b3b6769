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


def ask(where: str, query: str, deadline: float) -> list[str | None]:
    """The first row of the query as text, over a connection of its own.

    where: libpq's conninfo. deadline: of time.monotonic(). Raises TimeoutError or psycopg.OperationalError.
    """
    connection = PGconn.connect_start(where.encode())
    try:
        _connect(connection, deadline)
        connection.send_query(query.encode())
        while connection.is_busy():
            _wait_for(connection.socket, select.POLLIN, deadline)
            connection.consume_input()
        result = connection.get_result()
        if result is None or result.status != ExecStatus.TUPLES_OK:
            raise OperationalError(_message(connection))
        values = [result.get_value(0, column) for column in range(result.nfields)]
        return [None if value is None else bytes(value).decode() for value in values]
    finally:
        connection.finish()


def _connect(connection: abc.PGconn, deadline: float) -> None:
    event = select.POLLOUT
    while connection.status != ConnStatus.BAD:
        _wait_for(connection.socket, event, deadline)
        step = connection.connect_poll()
        if step == PollingStatus.OK:
            return
        if step == PollingStatus.FAILED:
            break
        event = select.POLLOUT if step == PollingStatus.WRITING else select.POLLIN
    raise OperationalError(_message(connection))


def _wait_for(socket: int, event: int, deadline: float) -> None:
    poller = select.poll()
    poller.register(socket, event)
    if not poller.poll(max(0.0, deadline - time.monotonic()) * 1000):
        raise TimeoutError


def _message(connection: abc.PGconn) -> str:
    return connection.error_message.decode(errors="replace").strip()
