"""Django's engine for PostgreSQL on guarded connections.

In the web process, whose prober knows how PostgreSQL stands, nobody waits: a statement ends as soon as
PostgreSQL is known to be away, a statement timeout holds (ARC_WEB_STATEMENT_SECONDS), and a backend that
is silent beyond it is given up. Workers and commands have statements that may take hours: there a long
silence makes the connection ask over a second one whether the server still answers anybody, and only when
it does not is the statement given up (OperationalError; a job is then put off).
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from django.conf import settings
from django.db.backends.postgresql import base

from arcweb import servers
from arcweb.libpq import ask, conninfo
from arcweb.postgres import replica
from arcweb.postgres.connection import Guard, GuardedConnection, ServerSilent, connecting

#: Seconds. Of a web process: making a connection, and the question whether one is still of use.
CONNECT_SECONDS = 0.8
USABLE_SECONDS = 0.4
#: Seconds beyond the statement timeout, for the server to say that it is over.
MARGIN = 1.0
#: Seconds. Elsewhere: that question, and silence until the server is asked, and asked again.
PATIENT_USABLE_SECONDS = 5.0
DOUBT_AFTER = 15.0
DOUBT_SECONDS = 2.0


class _Psycopg:
    """The module psycopg, with connections of ours."""

    connect = staticmethod(GuardedConnection.connect)

    def __getattr__(self, name: str) -> Any:
        return getattr(psycopg, name)


class DatabaseWrapper(base.DatabaseWrapper):
    Database: Any = _Psycopg()
    _patience: float | None = None
    _asked = 0.0

    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        with connecting(self._guard_of_connecting()):
            connection = super().get_new_connection(conn_params)
        if isinstance(connection, GuardedConnection):
            connection.guard = self._guard
        return connection

    def init_connection_state(self) -> None:
        super().init_connection_state()
        # Behind a pooler the session belongs to everybody: the pool's own connect_query sets the limit there.
        pooled = settings.POSTGRES_POOLER == "transaction"
        if servers.watched() and self.connection is not None and not pooled:
            milliseconds = int(settings.ARC_WEB_STATEMENT_SECONDS * 1000)
            with self.connection.cursor() as cursor:
                cursor.execute(f"SET statement_timeout = {milliseconds}")
            if not self.get_autocommit():
                self.connection.commit()

    def is_usable(self) -> bool:
        """Whether the connection answers, within half a second in the web process, frozen or not."""
        with self.patience(USABLE_SECONDS if servers.watched() else PATIENT_USABLE_SECONDS):
            usable = bool(super().is_usable())
        if not usable:
            self._suspect()
        return usable

    @contextmanager
    def patience(self, seconds: float) -> Iterator[None]:
        """Inside, the connection is given up when it is silent for so long in a statement."""
        before, self._patience = self._patience, seconds
        try:
            yield
        finally:
            self._patience = before

    def _guard_of_connecting(self) -> Guard | None:
        if not servers.watched():
            return None  # libpq's connect_timeout holds
        deadline = time.monotonic() + CONNECT_SECONDS

        def guard(_silence: float) -> None:
            self._fail_while_away()
            if time.monotonic() > deadline:
                self._suspect()
                raise ServerSilent(f"PostgreSQL took no connection within {CONNECT_SECONDS:g} s.")

        return guard

    def _guard(self, silence: float) -> None:
        self._fail_while_away()
        limit = self._patience
        if limit is None and servers.watched():
            limit = settings.ARC_WEB_STATEMENT_SECONDS + MARGIN
        if limit is not None:
            if silence > limit:
                self._suspect()
                raise ServerSilent(f"PostgreSQL said nothing for {silence:.1f} s.")
        elif silence > DOUBT_AFTER and time.monotonic() - self._asked > DOUBT_AFTER:
            if not self._server_answers():
                raise ServerSilent(f"PostgreSQL said nothing for {silence:.0f} s, and answers nobody else.")
            self._asked = time.monotonic()

    def _suspect(self) -> None:
        """Have the server of this connection looked at."""
        if self.alias == replica.REPLICA:
            replica.suspect()
        else:
            servers.suspect("postgres")

    def _fail_while_away(self) -> None:
        if self.alias == replica.REPLICA:
            if replica.state().answers is False:
                raise ServerSilent("The replica is away.")
        elif servers.is_away("postgres"):
            raise ServerSilent("PostgreSQL is away.")

    def _server_answers(self) -> bool:
        """Whether it says anything to somebody else, a refusal included."""
        for _ in range(2):
            try:
                ask(conninfo(self.settings_dict), "SELECT 1", time.monotonic() + DOUBT_SECONDS)
            except TimeoutError:
                continue
            except psycopg.OperationalError:
                return True
            return True
        return False
