"""Databases that a restore leaves for a day: the one of before, and one that nobody confirmed."""

from __future__ import annotations

import logging

import psycopg
from django.db import DatabaseError

from arcweb.backups.exceptions import BackupError, LockedOut
from arcweb.backups.restore import databases, telling
from arcweb.backups.restore.journal import DROPPED, FINISHED, WAITING, Journal, now
from arcweb.backups.restore.running import Running, folder

logger = logging.getLogger(__name__)
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
