"""The databases of the server as a whole: made, closed and dropped over a connection to none of them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
from django.conf import settings
from django.db import connections
from psycopg import sql

from arcweb.backups import scratch, server
from arcweb.backups.exceptions import BackupError

#: The database that every cluster has, and that nobody works in.
MAINTENANCE = "postgres"
#: Seconds until sessions must have ended before the exchange; and that one ALTER DATABASE waits for a lock.
ENDING = 30.0
LOCK_SECONDS = 5

#: What a database or a role may have set for people, not for this. Rows go from one database to the other as
#: text, so that both must write it alike. PostgreSQL's own names come first while none puts them elsewhere: a
#: copy may bring a table public.pg_attribute.
UNHURRIED = """
    SELECT (SELECT count(set_config(name, '0', false)) FROM pg_settings  -- those that this server knows
            WHERE name IN ('statement_timeout', 'transaction_timeout', 'idle_session_timeout',
                           'idle_in_transaction_session_timeout', 'lock_timeout')),
           set_config('default_transaction_read_only', 'off', false),
           set_config('search_path', 'public', false),
           set_config('timezone', 'UTC', false), set_config('datestyle', 'ISO, MDY', false),
           set_config('intervalstyle', 'postgres', false), set_config('extra_float_digits', '1', false)
"""
FIND = (
    "SELECT oid::int8, datname, datallowconn FROM pg_database WHERE datname = ANY(%s) OR oid = ANY(%s::oid[])"
)
ABOUT = """
    SELECT current_user, role.rolsuper, role.rolcreatedb,
           coalesce(pg_has_role(current_user, live.datdba, 'USAGE'), false),
           pg_has_role(current_user, 'pg_signal_backend', 'MEMBER'),
           (SELECT count(*) FROM pg_prepared_xacts WHERE database = %(live)s),
           EXISTS (SELECT FROM pg_database WHERE datname = %(template)s),
           coalesce(pg_get_userbyid(live.datdba), ''), pg_is_in_recovery()
    FROM pg_roles AS role LEFT JOIN pg_database AS live ON live.datname = %(live)s
    WHERE role.rolname = current_user
"""
SESSIONS = """
    SELECT pid, usename, application_name, coalesce(host(client_addr), 'this machine'),
           CASE WHEN pg_has_role(current_user, usesysid, 'USAGE')
                  OR (pg_has_role(current_user, 'pg_signal_backend', 'USAGE')
                      AND NOT (SELECT rolsuper FROM pg_roles WHERE oid = usesysid))
                THEN pg_terminate_backend(pid) ELSE false END
    FROM pg_stat_activity
    WHERE datname = ANY(%s) AND backend_type IN ('client backend', 'walsender') AND NOT pid = ANY(%s)
"""
LEFT = """
    SELECT count(*) FROM pg_stat_activity
    WHERE datname = ANY(%s) AND backend_type IN ('client backend', 'walsender') AND NOT pid = ANY(%s)
"""


@dataclass(frozen=True)
class Database:
    oid: int
    name: str
    open: bool  #: takes new connections


@dataclass(frozen=True)
class Standing:
    """What this role may do to databases. prepared: transactions prepared in live that nobody ended."""

    role: str
    superuser: bool
    createdb: bool
    owns: bool
    signals: bool
    prepared: int
    template: bool
    owner: str
    standby: bool


def live_name() -> str:
    return str(connections["default"].settings_dict["NAME"])


@contextmanager
def connected(database: str, *, autocommit: bool = True) -> Iterator[psycopg.Connection[Any]]:
    """A connection of our own with the server itself. Raises BackupError when it cannot be made."""
    connection = server.connect(database, application="arcweb-restore", autocommit=autocommit)
    try:
        connection.execute(UNHURRIED)
        if not autocommit:
            connection.commit()
        yield connection
    finally:
        connection.close()


def standing() -> Standing:
    with connected(MAINTENANCE) as connection:
        row = connection.execute(
            ABOUT, {"live": live_name(), "template": settings.ARC_TEMPLATE_DATABASE}
        ).fetchone()
    if row is None:
        raise BackupError("PostgreSQL does not know the role that is logged in.")
    return Standing(*row)


def find(connection: psycopg.Connection[Any], *, names: list[str], oids: list[int]) -> list[Database]:
    """The databases of these names or numbers that exist."""
    known = [oid for oid in oids if oid]
    return [Database(*row) for row in connection.execute(FIND, [names, known]).fetchall()]


def named(connection: psycopg.Connection[Any], name: str) -> Database | None:
    return next(iter(find(connection, names=[name], oids=[])), None)


def create(connection: psycopg.Connection[Any], name: str) -> Database:
    """An empty database of the project's template, for this role alone. Raises BackupError in words."""
    scratch.create(connection, name)
    made = named(connection, name)
    if made is None:
        raise BackupError(f"PostgreSQL made the database {name}, and does not list it.")
    return made


def drop(connection: psycopg.Connection[Any], name: str, oid: int = 0) -> bool:
    """Drop it with the sessions in it; False when there is none, or it is not the one of that number."""
    found = named(connection, name)
    if found is None or (oid and found.oid != oid):
        return False
    connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))
    return True


def allow(connection: psycopg.Connection[Any], name: str, *, connections_: bool) -> None:
    """Whether that database takes new connections from now on."""
    connection.execute(
        sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS {}").format(
            sql.Identifier(name), sql.Literal(connections_)
        )
    )


def end_sessions(connection: psycopg.Connection[Any], names: list[str], *, but: list[int]) -> list[str]:
    """Ask every session in these databases to end; those that we may not end, in words."""
    rows = connection.execute(SESSIONS, [names, but]).fetchall()
    return [
        f"process {pid} of {user} ({application or 'no name'}) at {place}"
        for pid, user, application, place, asked in rows
        if not asked
    ]


def until_empty(connection: psycopg.Connection[Any], names: list[str], *, but: list[int]) -> None:
    """End the sessions in these databases until none is left but those. Raises BackupError with who stays."""
    deadline = time.monotonic() + ENDING
    while True:
        refused = end_sessions(connection, names, but=but)
        row = connection.execute(LEFT, [names, but]).fetchone()
        if row is None or row[0] == 0:
            return
        if time.monotonic() > deadline:
            who = "; ".join(refused[:5]) or f"{row[0]} session(s)"
            raise BackupError(
                f"These sessions did not end within {ENDING:.0f} s: {who}. A superuser's sessions only a "
                "superuser can end. End them, then start the restore again."
            )
        time.sleep(0.1)
