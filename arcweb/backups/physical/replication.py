"""The replication role: where it connects, what the server says to it, and a slot that keeps the log."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
from django.conf import settings
from psycopg.pq import ConnStatus, ExecStatus, PGconn

from arcweb.backups import server
from arcweb.backups.exceptions import BackupError
from arcweb.backups.physical import segments
from arcweb.libpq import conninfo

APPLICATION = "arcweb-basebackup"
UNSET = (
    "Base backups are taken as the role {role}, and its password is not set in this process: put it into "
    "ARC_REPLICATION_PASSWORD of the worker (docker-compose.yml gives it to the worker alone). Without it no "
    "physical backup is taken, and there is no restore to a chosen time."
)


def why_not() -> str:
    """Why no base backup can be taken here, and what to set; "" when one can."""
    if not settings.ARC_REPLICATION_PASSWORD:
        return UNSET.format(role=settings.ARC_REPLICATION_USER)
    return ""


def database() -> dict[str, Any]:
    """As an entry of DATABASES, for the replication role. Raises BackupError when it has no password here."""
    if reason := why_not():
        raise BackupError(reason)
    return server.database() | {
        "USER": settings.ARC_REPLICATION_USER,
        "PASSWORD": settings.ARC_REPLICATION_PASSWORD,
    }


@dataclass(frozen=True)
class Server:
    """What IDENTIFY_SYSTEM and SHOW say. system: its number, in all copies of the cluster. at: an LSN."""

    system: str
    timeline: int
    at: str
    version: int
    segment_bytes: int


class Line:
    """A connection in replication mode, which takes none of psycopg's own statements."""

    def __init__(self) -> None:
        known = conninfo(database())
        options = psycopg.conninfo.conninfo_to_dict(known).get("options", "")
        where = psycopg.conninfo.make_conninfo(
            known,
            application_name=APPLICATION,
            connect_timeout=server.CONNECT_SECONDS,
            # Its session holds the slot in silence while pg_basebackup works; SET it does not take.
            options=f"{options} -c idle_session_timeout=0".strip(),
            replication="true",
        )
        self._connection = PGconn.connect(where.encode())
        if self._connection.status != ConnStatus.OK:
            words = self._message()
            self._connection.finish()
            raise BackupError(_refused(words))

    def ask(self, statement: str) -> list[str]:
        """The first row. Raises BackupError with the server's words."""
        result = self._connection.exec_(statement.encode())
        if result.status not in (ExecStatus.TUPLES_OK, ExecStatus.COMMAND_OK):
            raise BackupError(f"PostgreSQL refused {statement.split(' ', maxsplit=1)[0]}: {self._message()}")
        return [bytes(result.get_value(0, column) or b"").decode() for column in range(result.nfields)]

    def identify(self) -> Server:
        system, timeline, at, _ = self.ask("IDENTIFY_SYSTEM")
        size = self.ask("SHOW wal_segment_size")[0]
        return Server(system, int(timeline), at, self._connection.server_version, _bytes(size))

    def close(self) -> None:
        self._connection.finish()

    def _message(self) -> str:
        words = self._connection.error_message.decode(errors="replace").strip()
        return words.splitlines()[0] if words else "it said nothing"


@contextmanager
def connected() -> Iterator[Line]:
    """Raises BackupError in words."""
    line = Line()
    try:
        yield line
    finally:
        line.close()


def descent(line: Line, timeline: int) -> list[segments.Step]:
    """The server's line of descent, by the history that it keeps beside its log; of a timeline without one
    (the first), itself alone."""
    try:
        _, history = line.ask(f"TIMELINE_HISTORY {timeline}")
    except BackupError:
        history = ""
    return segments.descent(timeline, history)


@contextmanager
def log_kept(line: Line, name: str) -> Iterator[bool]:
    """While the block lasts the server keeps the log from now on, by a temporary slot of that session.

    Gives False where it has no slot to give: the log may then be removed before it is read, which
    pg_basebackup notices and says.
    """
    try:
        line.ask(f'CREATE_REPLICATION_SLOT "{name}" TEMPORARY PHYSICAL RESERVE_WAL')
    except BackupError:
        yield False
        return
    yield True


def _bytes(text: str) -> int:
    number, unit = text[:-2], text[-2:]
    return int(number) * {"kB": 1024, "MB": 1024**2, "GB": 1024**3}[unit]


def _refused(words: str) -> str:
    role = settings.ARC_REPLICATION_USER
    if "no pg_hba.conf entry" in words:
        return (
            f"PostgreSQL lets {role} not replicate from here ({words}). Add this line to its pg_hba.conf and "
            f"reload it: host replication {role} THIS-MACHINE/32 scram-sha-256"
        )
    if "WAL sender" in words or "start walsender" in words:  # the latter before 16
        return f"{role} may not replicate ({words}). A superuser allows it: ALTER ROLE {role} REPLICATION;"
    return f"{role} cannot connect to PostgreSQL for a base backup: {words}"
