"""The exchange: live becomes `before`, new becomes live, in one transaction of a database that is neither.

ALTER DATABASE … RENAME and … ALLOW_CONNECTIONS may stand in a transaction block
(https://www.postgresql.org/docs/current/sql-alterdatabase.html), so that everybody sees the old names or
the new ones. A rename needs a database without sessions: it takes no new ones first, then those that are
left are ended. Our own, opened before, go on reading until everything is carried over.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import psycopg
from psycopg import errors, sql

from arcweb.backups.exceptions import BackupError
from arcweb.backups.restore import databases
from arcweb.backups.restore.journal import Journal

#: Seconds for which the renames are tried while somebody still slips in or out.
RENAMING = 30.0
Connection = psycopg.Connection[Any]


def is_exchanged(connection: Connection, journal: Journal) -> bool:
    """Whether the new database is the live one, by its number: names alone could be of another time.

    One that was live before this began (a second undo of the same restore) was not put there by it.
    """
    found = databases.named(connection, journal.live)
    return found is not None and 0 != journal.new_oid == found.oid != journal.live_oid


@contextmanager
def closed(
    journal: Journal, *, live_is_broken: bool = False
) -> Iterator[tuple[Connection | None, Connection]]:
    """Connections to live (None: there is none, or it is broken) and new. Nobody else has one inside, nor
    gets one afterwards.

    An exception opens live again.
    """
    with databases.connected(databases.MAINTENANCE) as outside, ExitStack() as exits:
        # `before` of an undo is closed since the exchange that made it.
        databases.allow(outside, journal.new, connections_=True)
        names = [journal.new]
        exits.callback(reopen, outside, journal)
        live = None
        if journal.live_oid:
            names.append(journal.live)
            if not live_is_broken:
                live = exits.enter_context(databases.connected(journal.live))
        new = exits.enter_context(databases.connected(journal.new, autocommit=False))
        ours = [one.info.backend_pid for one in (live, new) if one is not None]
        for name in names:
            databases.allow(outside, name, connections_=False)
        databases.until_empty(outside, names, but=ours)
        yield live, new
        exits.pop_all()
        for one in (live, new):
            if one is not None:
                one.close()


def reopen(connection: Connection, journal: Journal) -> None:
    """Live takes connections again, whichever database bears its name; so does what waits for another try."""
    found = databases.named(connection, journal.live)
    if found is not None and not found.open:
        databases.allow(connection, journal.live, connections_=True)
    if journal.kind == "restore" and databases.named(connection, journal.new) is not None:
        databases.allow(connection, journal.new, connections_=True)


def exchange(journal: Journal) -> None:
    """Live becomes before and new becomes live, or neither. Both take no connections; live does afterwards.

    Raises BackupError when somebody stays in one of them.
    """
    renames = [(journal.live, journal.before)] if journal.live_oid else []
    _rename_all([*renames, (journal.new, journal.live)], journal.live)


def back(journal: Journal) -> None:
    """Take back an exchange that turned out badly: the same the other way round."""
    with databases.connected(databases.MAINTENANCE) as outside:
        databases.allow(outside, journal.live, connections_=False)
        try:
            _rename_all([(journal.live, journal.new), (journal.before, journal.live)], journal.live)
        except BaseException:
            reopen(outside, journal)
            raise


def _rename_all(renames: list[tuple[str, str]], live: str) -> None:
    """All of them in one transaction, and `live` open at its end."""
    deadline = time.monotonic() + RENAMING
    with databases.connected(databases.MAINTENANCE) as outside:
        while True:
            databases.until_empty(outside, [old for old, _ in renames], but=[])
            try:
                with outside.transaction():
                    outside.execute(f"SET LOCAL lock_timeout = '{databases.LOCK_SECONDS}s'")
                    for old, name in renames:
                        _rename(outside, old, name)
                    databases.allow(outside, live, connections_=True)
            except (errors.ObjectInUse, errors.LockNotAvailable) as error:
                if time.monotonic() > deadline:
                    raise BackupError(
                        f"The databases could not be renamed, for somebody is in one of them: {error}"
                    ) from error
                time.sleep(0.1)
            else:
                return


def _rename(connection: Connection, old: str, new: str) -> None:
    connection.execute(
        sql.SQL("ALTER DATABASE {} RENAME TO {}").format(sql.Identifier(old), sql.Identifier(new))
    )
