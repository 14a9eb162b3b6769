"""One backup or run of retention at a time, held by PostgreSQL: an advisory lock, gone with its session."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import psycopg

from arcweb.backups import server
from arcweb.backups.exceptions import LockedOut

NAME = "arcweb.backups"
TAKE = "SELECT pg_try_advisory_lock(hashtextextended(%s, 0))"
GIVE = "SELECT pg_advisory_unlock(hashtextextended(%s, 0))"
HOLDER = """
    SELECT a.application_name, to_char(a.backend_start AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS')
    FROM pg_locks AS l JOIN pg_stat_activity AS a USING (pid),
         (SELECT hashtextextended(%s, 0) AS value) AS key
    WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
      AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
      AND l.classid::bigint = (key.value >> 32) & 4294967295 AND l.objid::bigint = key.value & 4294967295
"""
PREFIX = "arcweb: "


@contextmanager
def turn(what: str) -> Iterator[None]:
    """Nobody else has a turn while the block lasts. what: "backup", "retention": said to who comes second.

    Raises LockedOut within a second when somebody has it, BackupError when PostgreSQL cannot be reached. The
    lock goes when this process dies, whatever way; when its session is lost before the block ends, another
    may begin, as after a restart of the server.
    """
    with server.connect(application=f"{PREFIX}{what}") as connection:
        server.lift_limits(connection)
        if not _taken(connection):
            holder = connection.execute(HOLDER, [NAME]).fetchone()
            doing, since = holder or ("", "")
            doing = doing.removeprefix(PREFIX) if doing.startswith(PREFIX) else "backup or restore"
            when = f" since {since} UTC" if since else ""
            raise LockedOut(f"A {doing} is under way{when}: wait for its end, then start again.")
        try:
            yield
        finally:
            with suppress(psycopg.Error):
                connection.execute(GIVE, [NAME])  # its session ends some moments after it is closed
            connection.close()


def _taken(connection: psycopg.Connection[Any]) -> bool:
    """Whether the lock is ours. Half a second is waited: who was killed holds it until its session ends."""
    for pause in (0.1, 0.1, 0.3, 0.0):
        if (connection.execute(TAKE, [NAME]).fetchone() or (False,))[0]:
            return True
        time.sleep(pause)
    return False
