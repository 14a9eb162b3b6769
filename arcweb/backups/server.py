"""The PostgreSQL that is backed up: its own address, connections that hear a cancellation, its programs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
from django.conf import settings
from django.db import DEFAULT_DB_ALIAS, connections

from arcweb.backups import tools
from arcweb.backups.exceptions import BackupError
from arcweb.embedded import binaries
from arcweb.embedded.errors import EmbeddedError
from arcweb.libpq import conninfo
from arcweb.postgres.connection import GuardedConnection

CONNECT_SECONDS = 5
#: What a role's settings may hold against work that takes long; each server knows some of them.
LIMITS = (
    "statement_timeout",
    "transaction_timeout",
    "idle_in_transaction_session_timeout",
    "idle_session_timeout",
)
LIFT = "SELECT set_config(name, '0', false) FROM pg_settings WHERE name = ANY (%s)"


def database() -> dict[str, Any]:
    """The entry of DATABASES, led to the server itself where POSTGRES_HOST is a pooler.

    A session lock, pg_dump and CREATE DATABASE need the same session throughout: behind PgBouncer in
    transaction mode pg_dump's SET search_path = '' would stay in a session that the pages use next. Raises
    BackupError when the server's own address is not known.
    """
    found: dict[str, Any] = dict(connections[DEFAULT_DB_ALIAS].settings_dict)
    if settings.POSTGRES_DIRECT_HOST:
        found |= {"HOST": settings.POSTGRES_DIRECT_HOST, "PORT": str(settings.POSTGRES_DIRECT_PORT)}
    elif settings.POSTGRES_POOLER == "transaction":
        raise BackupError(
            "POSTGRES_HOST is a pooler in transaction mode, through which no backup can be "
            "taken or restored: set POSTGRES_DIRECT_HOST (and POSTGRES_DIRECT_PORT) to the address of "
            "PostgreSQL itself."
        )
    return found


def connect(
    name: str = "",
    *,
    application: str = "arcweb-backup",
    check: Callable[[], None] | None = None,
    autocommit: bool = True,
) -> psycopg.Connection[Any]:
    """A session of its own with the server itself, in that database (default: the application's).

    check: asked ten times a second while the session waits for the server; what it raises ends the waiting,
    and the connection is of no use afterwards. Raises BackupError with the server's words.
    """
    where = conninfo(database() | ({"NAME": name} if name else {}))
    where = psycopg.conninfo.make_conninfo(
        where, application_name=application[:63], connect_timeout=CONNECT_SECONDS
    )
    try:
        connection: GuardedConnection[Any] = GuardedConnection.connect(where, autocommit=autocommit)
    except psycopg.OperationalError as error:
        raise BackupError(f"PostgreSQL cannot be reached: {first_line(error)}") from error
    if check is not None:
        connection.guard = lambda silence: check()
    return connection


def lift_limits(connection: psycopg.Connection[Any]) -> None:
    """For the rest of that session no time limit of its role, meant for pages, ends what it does."""
    connection.execute(LIFT, [list(LIMITS)])


def reconnect() -> None:
    """The application's own session is as good as new: it stood idle while something took long, and a time
    limit of its role, or a restart of the server, may have ended it. Inside a transaction nothing is done."""
    own = connections[DEFAULT_DB_ALIAS]
    if not own.in_atomic_block and own.connection is not None and not own.is_usable():
        own.close()


def program(name: str, connection: psycopg.Connection[Any]) -> tools.Program:
    """pg_dump and its like, of the major version of that connection's server. Raises ToolError."""
    return tools.find(name, connection.info.server_version, folders(connection))


def folders(connection: psycopg.Connection[Any]) -> list[Path]:
    """Where to look first: ARC_POSTGRES_TOOLS alone if set, else beside the embedded server's programs."""
    if settings.ARC_POSTGRES_TOOLS:
        return [Path(settings.ARC_POSTGRES_TOOLS)]
    if connection.pgconn.ssl_in_use:
        return []  # the embedded programs are built without SSL
    try:
        return [binaries.installed().postgres]
    except EmbeddedError:
        return []


def first_line(error: BaseException) -> str:
    """The server's own words, without what libpq says around them."""
    lines = [line for line in str(error).strip().splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
