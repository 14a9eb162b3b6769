"""The embedded PostgreSQL that a restore to a chosen time replaces: running or not, whole or not."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import psycopg
from django.conf import settings
from psycopg import sql

from arcweb.backups.exceptions import BackupError, ToolError
from arcweb.backups.physical.programs import Programs
from arcweb.embedded.errors import EmbeddedError
from arcweb.embedded.options import stack_from_settings
from arcweb.embedded.postgres import PORT, SUPERUSER
from arcweb.embedded.stack import Stack
from arcweb.embedded.wal import ARCHIVE

#: Seconds that a file of the log gets to reach the archive.
ARCHIVED_WITHIN = 60.0
IDENTITY = """
    SELECT system_identifier::text, left(pg_walfile_name(pg_current_wal_insert_lsn()), 8)
    FROM pg_control_system()
"""
CONTROL = re.compile(r"Database system identifier:\s+(\d+)|TimeLineID:\s+(\d+)")
INSTEAD = (
    "This PostgreSQL is not embedded, so this program cannot put another cluster in its place. The page and "
    "`manage.py backup restore-time TIME --commands` say how to do it by hand."
)


@dataclass(frozen=True)
class Live:
    """system, timeline: of the cluster in place; "" and 0 when there is none or it cannot be read."""

    stack: Stack
    running: bool
    system: str = ""
    timeline: int = 0

    def connect(self, database: str = "postgres", *, user: str = SUPERUSER) -> psycopg.Connection[Any]:
        """As that role, by the secrets of the embedded stack. Raises psycopg.Error."""
        layout = self.stack.layout
        secret = "postgres-superuser-password" if user == SUPERUSER else "postgres-password"
        return psycopg.connect(
            host=str(layout.socket_dir),
            port=PORT,
            dbname=database,
            user=user,
            password=layout.read_secret(secret),
            connect_timeout=5,
            autocommit=True,
        )


def look(stack: Stack | None = None) -> Live:
    """The live cluster as it is now. Raises BackupError when PostgreSQL is not embedded."""
    if not settings.ARC_EMBEDDED:
        raise BackupError(INSTEAD)
    stack = stack or stack_from_settings()
    try:
        status = stack.postgres.status()
    except EmbeddedError as error:
        raise BackupError(str(error)) from error
    if status.ready:
        with Live(stack, running=True).connect() as connection:
            row = connection.execute(IDENTITY).fetchone()
        assert row is not None  # noqa: S101 - one row, always
        return Live(stack, running=True, system=row[0], timeline=int(row[1], 16))
    if status.state != "stopped":
        raise BackupError(
            f"PostgreSQL is {status.state}: wait until it answers, or stop it, then start again."
        )
    system, timeline = _control(stack)
    return Live(stack, running=False, system=system, timeline=timeline)


def _control(stack: Stack) -> tuple[str, int]:
    """What the stopped cluster's control file says."""
    folder = stack.postgres.folder
    if not (folder / "PG_VERSION").is_file():
        return "", 0
    try:
        version = int((folder / "PG_VERSION").read_text()) * 10_000
        programs = Programs(version, stack.user)
        words = programs.run("pg_controldata", "--pgdata", folder, cwd=folder).decode()
    except (ToolError, OSError, ValueError):
        return "", 0
    found: list[tuple[str, str]] = CONTROL.findall(words)
    system = next((number for number, _ in found if number), "")
    return system, max((int(timeline) for _, timeline in found if timeline), default=0)


def flush(live: Live, check: Callable[[], None]) -> str:
    """Everything that was committed until now is in the archive afterwards; the last file's name.

    A transaction is committed first: a recovery to a time needs one that is later. Raises BackupError.
    """
    archive = live.stack.layout.real_servers_dir / ARCHIVE
    with live.connect() as connection:
        command = connection.execute("SHOW archive_command").fetchone()
        if not command or ARCHIVE not in command[0]:
            raise BackupError(
                "The running PostgreSQL does not archive its log yet: stop `make run` and start it again. "
                "Only what is written from then on can be recovered to a chosen time."
            )
        connection.execute("SELECT pg_current_xact_id()")
        row = connection.execute("SELECT pg_walfile_name(pg_current_wal_insert_lsn())").fetchone()
        name = str(row[0]) if row else ""
        connection.execute("SELECT pg_switch_wal()")
        deadline = time.monotonic() + ARCHIVED_WITHIN
        while not (archive / f"{name}.gz").exists():
            check()
            if time.monotonic() > deadline:
                why = _failure(connection)
                raise BackupError(f"{name} was not archived within {ARCHIVED_WITHIN:.0f} s: {why}")
            time.sleep(0.05)
    return name


def _failure(connection: psycopg.Connection[Any]) -> str:
    row = connection.execute(
        "SELECT last_failed_wal FROM pg_stat_archiver "
        "WHERE last_failed_time > coalesce(last_archived_time, '-infinity')"
    ).fetchone()
    words = f"archive_command fails for {row[0]}" if row else "it is behind with older files"
    return f"{words}. Its log says why; is the disk full?"


def counted(connection: psycopg.Connection[Any]) -> dict[str, int]:
    """Rows of each table of that database that is no partition of another, by "schema.name"."""
    names = connection.execute(
        "SELECT n.nspname, c.relname FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace "
        "WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relpersistence = 'p' "
        "AND n.nspname NOT IN ('pg_catalog', 'information_schema') ORDER BY 1, 2"
    ).fetchall()
    found = {}
    for schema, name in names:
        query = sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(schema, name))
        with suppress(psycopg.errors.UndefinedTable):  # dropped meanwhile
            row = connection.execute(query).fetchone()
            found[f"{schema}.{name}"] = int(row[0]) if row else 0
    return found
