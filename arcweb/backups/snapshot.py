"""A moment of the database that several sessions see alike, and what there is to say about it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import psycopg
from psycopg import sql

from arcweb.backups import content, server
from arcweb.backups.exceptions import BackupError

#: Seconds that locks on the tables are waited for: ALTER TABLE and its like hold them up.
LOCK_SECONDS = 60
#: Tables made or dropped while their locks were taken: so often it is tried again.
TRIES = 5
#: What a restored database may need to be the same, or a person to understand a difference.
SETTINGS = (
    "block_size",
    "data_checksums",
    "default_text_search_config",
    "lc_ctype",
    "max_connections",
    "password_encryption",
    "server_encoding",
    "shared_preload_libraries",
    "TimeZone",
    "wal_level",
)
DATABASE = """
    SELECT d.datname, pg_get_userbyid(d.datdba), pg_encoding_to_char(d.encoding), d.datcollate, d.datctype,
           pg_database_size(d.oid), current_user
    FROM pg_database AS d WHERE d.datname = current_database()
"""
MIGRATIONS = """
    SELECT DISTINCT ON (app) app, name FROM public.django_migrations ORDER BY app, id DESC
"""
LOST = "The tables changed without a pause; no backup was taken. Start it again when the migrations are done."


@dataclass(frozen=True)
class Snapshot:
    """name: for pg_dump --snapshot, while the connection's transaction lasts."""

    connection: psycopg.Connection[Any]
    name: str
    taken_at: datetime
    relations: list[content.Relation]


@contextmanager
def hold(
    schema: str = "", check: Callable[[], None] | None = None, *, database: str = ""
) -> Iterator[Snapshot]:
    """A read-only snapshot of the whole database, with its tables locked against change while it is held.

    The locks come first: TRUNCATE and ALTER TABLE do not care about snapshots, and what one of them did
    before pg_dump has locks of its own would be in the copy or in the hashes, not in both. schema: only the
    tables of that schema are locked. database: if not the application's. Raises BackupError, and what `check`
    raises.
    """
    connection = server.connect(database, application="arcweb-backup: snapshot", check=check)
    try:
        server.lift_limits(connection)
        relations = _lock(connection, schema)
        row = connection.execute("SELECT pg_export_snapshot(), clock_timestamp()").fetchone()
        name, moment = row or ("", datetime.now(UTC))
        yield Snapshot(connection, name, moment, relations)
    finally:
        connection.close()


def _lock(connection: psycopg.Connection[Any], schema: str) -> list[content.Relation]:
    """Begins the transaction. LOCK TABLE takes no snapshot, so that the one that follows is newer."""
    for _ in range(TRIES):
        wanted = content.relations(connection, schema)
        connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        try:
            connection.execute(
                sql.SQL("SET LOCAL lock_timeout = {}").format(sql.Literal(LOCK_SECONDS * 1000))
            )
            if wanted:
                names = [sql.Identifier(one.schema, one.name) for one in wanted]
                connection.execute(
                    sql.SQL("LOCK TABLE ONLY {} IN ACCESS SHARE MODE").format(sql.SQL(", ONLY ").join(names))
                )
            if content.relations(connection, schema) == wanted:
                return wanted
        except psycopg.errors.UndefinedTable:
            pass  # dropped since it was listed
        except psycopg.errors.LockNotAvailable as error:
            raise BackupError(
                f"A table was locked for longer than {LOCK_SECONDS} s, by ALTER TABLE or its like, and no "
                "backup was taken. See the page Locks for who holds it, then start again."
            ) from error
        connection.execute("ROLLBACK")
    raise BackupError(LOST)


def describe(snapshot: Snapshot) -> dict[str, Any]:
    """Facts for a manifest, by its fields: server, database, extensions, migrations, settings."""
    connection = snapshot.connection
    name, owner, encoding, collate, ctype, size, role = connection.execute(DATABASE).fetchone() or [""] * 7
    extensions = connection.execute("SELECT extname, extversion FROM pg_extension ORDER BY 1").fetchall()
    known = {f"{one.schema}.{one.name}" for one in content.relations(connection)}
    migrations = connection.execute(MIGRATIONS).fetchall() if "public.django_migrations" in known else []
    settings = connection.execute(
        "SELECT name, current_setting(name) FROM pg_settings WHERE name = ANY (%s) ORDER BY 1",
        [list(SETTINGS)],
    ).fetchall()
    return {
        "server": {
            "product": "PostgreSQL",
            "version": connection.info.parameter_status("server_version") or "",
            "version_num": connection.info.server_version,
            "system_identifier": _system_identifier(connection),
        },
        "database": {
            "name": name,
            "owner": owner,
            "role": role,
            "encoding": encoding,
            "collate": collate,
            "ctype": ctype,
            "bytes": size,
        },
        "extensions": dict(extensions),
        "migrations": dict(migrations),
        "settings": dict(settings),
    }


def _system_identifier(connection: psycopg.Connection[Any]) -> str:
    """ "" where the role may not ask."""
    try:
        with connection.transaction():
            row = connection.execute("SELECT system_identifier::text FROM pg_control_system()").fetchone()
    except psycopg.errors.InsufficientPrivilege:
        return ""
    return str(row[0]) if row else ""
