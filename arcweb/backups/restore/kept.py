"""Databases that a restore leaves for a day: the one of before, and one that nobody confirmed."""

from __future__ import annotations

import logging

import psycopg
from django.conf import settings
from django.db import DatabaseError

from arcweb.backups.exceptions import BackupError, LockedOut
from arcweb.backups.physical import journal as times
from arcweb.backups.restore import databases, telling
from arcweb.backups.restore.journal import BROKEN, DROPPED, FINISHED, WAITING, Journal, now
from arcweb.backups.restore.running import Running, folder

logger = logging.getLogger(__name__)
#: Journals that stay whatever they say: twice as many as a page lists.
KEPT = 100
NOBODY = "No worker took it up: see that the workers run, then ask again."


def discard(journal: Journal) -> None:
    """Drop what was prepared and nobody wants. Raises BackupError; the caller holds the lock."""
    if journal.state != WAITING:
        raise BackupError("Only what waits for its confirmation can be discarded.")
    telling.tell("restore.discarded", journal)
    with databases.connected(databases.MAINTENANCE) as outside:
        databases.drop(outside, journal.new, journal.new_oid)
    journal.state, journal.finished_at, journal.dropped_at = DROPPED, now(), now()
    folder().write(journal)


def drop_expired() -> list[str]:
    """Drop what was kept long enough; the names. For the beat: does nothing while a restore is under way."""
    journals, dropped = folder(), list[str]()
    due = [one for one in journals.all() if _is_due(one) or one.is_forgotten]
    if not due:
        return []
    try:
        with journals.locked("clearing"):
            for journal in due:
                try:
                    dropped += _drop(journals.read(journal.id) or journal)
                except (psycopg.Error, DatabaseError, BackupError) as error:
                    logger.warning(
                        "What the restore %s left could not be dropped, and is tried again: %s",
                        journal.id,
                        error,
                    )
    except LockedOut:
        return []
    return dropped


def forget_old() -> int:
    """Journals beyond the newest KEPT that nobody needs any more go; how many. For the beat: nothing is done
    while a restore is under way."""
    journals = folder()
    ours = [(one.created_at, journals.path / f"{one.id}.json", _is_settled(one)) for one in journals.all()]
    kept = times.Journals(settings.ARC_BACKUP_DIR)
    theirs = [(one.created_at, kept.path_of(one), one.is_settled) for one in kept.all()]
    old = [path for _, path, settled in sorted(ours + theirs, reverse=True)[KEPT:] if settled]
    if not old:
        return 0
    try:
        with journals.locked("clearing"):
            for path in old:
                path.unlink(missing_ok=True)
    except LockedOut:
        return 0
    except OSError as error:
        logger.warning("Old journals of restores could not be removed: %s", error)
    return len(old)


def _is_settled(journal: Journal) -> bool:
    """Nobody waits for it, and nothing of it is left: no prepared database, none of before, no undo."""
    if journal.state in (BROKEN, DROPPED):
        return True
    return journal.state == FINISHED and (
        bool(journal.dropped_at) or not journal.swap or not journal.live_oid
    )


def _is_due(journal: Journal) -> bool:
    if journal.dropped_at or not journal.keep_until or journal.keep_until > now():
        return False
    return journal.state == WAITING or (journal.state == FINISHED and journal.swap and journal.live_oid != 0)


def _drop(journal: Journal) -> list[str]:
    if journal.is_forgotten:
        Running(journal).put_back(NOBODY)
        return []
    if not _is_due(journal):
        return []
    if journal.state == WAITING:
        discard(journal)
        return [journal.new]
    # What an undo has put back is live, and no longer of before.
    if journal.undone_at:
        journal.dropped_at = now()
        folder().write(journal)
        return []
    telling.tell("restore.dropped", journal, dropped=journal.before)
    with databases.connected(databases.MAINTENANCE) as outside:
        databases.drop(outside, journal.before, journal.live_oid)
    journal.dropped_at = now()
    folder().write(journal)
    return [journal.before]
