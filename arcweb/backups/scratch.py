"""Scratch databases: made from the template as the application's role, used once, dropped whatever happens.

One is called arc_scratch_… While its maker lives, two things tell others so: a session lock in the database
`postgres`, where every application of the cluster sees it, and a session in the scratch database itself. What
a killed maker left has neither, and the next one sweeps it.
"""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import psycopg
from django.conf import settings
from psycopg import sql

from arcweb.backups import content, server
from arcweb.backups.exceptions import BackupError, SpaceError

logger = logging.getLogger(__name__)
PREFIX = "arc_scratch_"
#: Session locks are of one database: the one that every cluster has, and that no restore exchanges.
COMMON = "postgres"
#: Seconds between tries while somebody is connected to the template, and how many.
PAUSE, TRIES = 1.0, 8
LOCK = "SELECT pg_try_advisory_lock(hashtextextended(%s, 0))"
UNLOCK = "SELECT pg_advisory_unlock(hashtextextended(%s, 0))"
RIGHTS = """
    SELECT current_user, rolsuper OR rolcreatedb,
           (SELECT rolsuper OR d.datistemplate OR pg_has_role(d.datdba, 'USAGE')
            FROM pg_database AS d WHERE d.datname = %s)
    FROM pg_roles WHERE rolname = current_user
"""
UNUSED = """
    SELECT d.datname FROM pg_database AS d
    WHERE starts_with(d.datname, %s) AND pg_has_role(d.datdba, 'USAGE')
      AND NOT EXISTS (SELECT FROM pg_stat_activity AS a WHERE a.datid = d.oid)
    ORDER BY d.datname
"""


class CannotMake(BackupError):  # noqa: N818 - reads as a sentence
    """No scratch database can be made here; the message says which right or which template is missing."""


@contextmanager
def database(use: str = "verify") -> Iterator[str]:
    """A database of its own, empty but for the template's extensions, for the block; yields its name.

    use: what its sessions say they are for. Raises CannotMake, SpaceError, BackupError. It is dropped with
    whoever is still connected; when the server is away just then, a later one sweeps it.
    """
    name = f"{PREFIX}{secrets.token_hex(6)}"
    with keeping(use) as keeper:
        try:
            # A restart of the server may end this session; the anchor is another.
            server.lift_limits(keeper)
            refuse(keeper)
            sweep(keeper)
            keeper.execute(LOCK, [name])
            create(keeper, name)
            with server.connect(name, application=f"arcweb: {use}") as anchor:
                server.lift_limits(anchor)
                _refuse_unfit(anchor)
                yield name
        finally:
            _drop_at_the_end(keeper, name)


def keeping(use: str) -> psycopg.Connection[Any]:
    """A session that may hold locks of scratch databases. Raises BackupError."""
    try:
        return server.connect(COMMON, application=f"arcweb: {use}")
    except BackupError:  # not let in there: then the locks are seen from this application alone
        return server.connect(application=f"arcweb: {use}")


def refuse(connection: psycopg.Connection[Any]) -> None:
    """Raises CannotMake when that connection's role may not make a database from the template."""
    template = settings.ARC_TEMPLATE_DATABASE
    role, may_create, may_copy = connection.execute(RIGHTS, [template]).fetchone() or ("", False, None)
    if not may_create:
        raise CannotMake(
            f"The role {role} may not create databases, and a copy is restored into one of its own. "
            f"A superuser allows it with: ALTER ROLE {_quoted(role)} CREATEDB;"
        )
    if may_copy is None:
        raise CannotMake(
            f"There is no database {template} (ARC_TEMPLATE_DATABASE), from which databases with the "
            f"extension vector are made. A superuser makes it with arcweb/embedded/init.sql, or with: "
            f"CREATE DATABASE {_quoted(template)} IS_TEMPLATE true; and in it: CREATE EXTENSION vector;"
        )
    if not may_copy:
        raise CannotMake(
            f"The role {role} may not copy the database {template}. A superuser allows it with: "
            f"ALTER DATABASE {_quoted(template)} IS_TEMPLATE true;"
        )


def create(connection: psycopg.Connection[Any], name: str) -> None:
    """A new database from the template, for the connection's role alone. Raises CannotMake, SpaceError."""
    template = settings.ARC_TEMPLATE_DATABASE
    statement = sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(
        sql.Identifier(name), sql.Identifier(template)
    )
    for left in range(TRIES, 0, -1):
        try:
            connection.execute(statement)
            connection.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(sql.Identifier(name)))
        except psycopg.errors.ObjectInUse as error:
            if left == 1:
                raise CannotMake(
                    f"Somebody is connected to the template {template}, which cannot be copied meanwhile. "
                    "End that session, then retry."
                ) from error
            time.sleep(PAUSE)
        except psycopg.errors.DiskFull as error:
            raise SpaceError(
                f"PostgreSQL has no room for another database: {server.first_line(error)}. Make room, then "
                "retry."
            ) from error
        except psycopg.Error as error:
            raise CannotMake(
                f"PostgreSQL did not make the database {name} from {template}: {server.first_line(error)}."
            ) from error
        else:
            return


def drop(connection: psycopg.Connection[Any], name: str, *, force: bool = True) -> None:
    """Drop a scratch database if it is there; force: with the sessions in it. Raises psycopg.Error."""
    if not name.startswith(PREFIX):
        raise ValueError(f"{name} is no scratch database.")
    statement = "DROP DATABASE IF EXISTS {} WITH (FORCE)" if force else "DROP DATABASE IF EXISTS {}"
    connection.execute(sql.SQL(statement).format(sql.Identifier(name)))


def sweep(connection: psycopg.Connection[Any]) -> list[str]:
    """Drop what killed makers left behind and nobody uses; returns the names. Never fails over one.

    connection: as `keeping` gives it.
    """
    swept = []
    for (name,) in connection.execute(UNUSED, [PREFIX]).fetchall():
        if not (connection.execute(LOCK, [name]).fetchone() or (False,))[0]:
            continue  # its maker lives, and is between two sessions
        try:
            drop(connection, name, force=False)
        except psycopg.Error as error:
            logger.info("The scratch database %s is not swept now: %s", name, server.first_line(error))
        else:
            swept.append(name)
        finally:
            with suppress(psycopg.Error):
                connection.execute(UNLOCK, [name])
    if swept:
        logger.warning("Scratch databases that a killed process left were dropped: %s", ", ".join(swept))
    return swept


def _refuse_unfit(connection: psycopg.Connection[Any]) -> None:
    """What the template lacks, or has too much, is no fault of a copy that is restored beside it."""
    found = connection.execute("SELECT FROM pg_extension WHERE extname = 'vector'").fetchone()
    template = settings.ARC_TEMPLATE_DATABASE
    if found is None:
        raise CannotMake(
            f"The template {template} lacks the extension vector (pgvector), which only a superuser may "
            f"create. As a superuser, in the database {template}: CREATE EXTENSION vector;"
        )
    if tables := content.relations(connection):
        raise CannotMake(
            f"The template {template} holds tables of its own ({tables[0].qualified} is one of "
            f"{len(tables):,}), and every new database gets them beside what is restored. Drop them there."
        )


def _drop_at_the_end(keeper: psycopg.Connection[Any], name: str) -> None:
    try:
        try:
            drop(keeper, name)
        except psycopg.OperationalError:  # the keeper's session was lost
            with server.connect(application="arcweb: sweep") as another:
                drop(another, name)
    except (psycopg.Error, BackupError) as error:
        logger.warning(
            "The scratch database %s could not be dropped, and the next verification sweeps it: %s",
            name,
            server.first_line(error),
        )


def _quoted(name: str) -> str:
    return sql.Identifier(name).as_string()
