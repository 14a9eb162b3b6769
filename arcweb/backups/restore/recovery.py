"""Finishes or undoes what a killed restore left: at the next start of anything, never between the two.

What is true is asked of the server's catalogue: the new database bears the name of live, or it does not.
"""

from __future__ import annotations

import logging

import psycopg
from django.conf import settings

from arcweb import paused
from arcweb.backups.exceptions import BackupError, LockedOut
from arcweb.backups.restore import databases, exchange, telling
from arcweb.backups.restore.journal import BROKEN, EXCHANGING, FAILED, Journal, now
from arcweb.backups.restore.running import Running, folder

logger = logging.getLogger(__name__)
KILLED = "The process that did this stopped without a word (killed, or its machine went down)."


def needed() -> bool:
    """Whether something was left and nobody works on it. Looks at files alone."""
    journals = folder()
    if journals.is_locked():
        return False
    return paused.is_on(settings.ARC_BACKUP_DIR) or bool(journals.unfinished())


def recover() -> list[str]:
    """Settle everything that was left; what was done, in sentences. Safe to call at any time and at once.

    Nothing is done while a restore is under way. Raises BackupError when PostgreSQL cannot be asked: then
    everything stays as it is, for the next call.
    """
    journals = folder()
    if not needed():
        return []
    try:
        with journals.locked("recovery"):
            said = [_settle(journal) for journal in journals.unfinished()]
            # A pause without a restore behind it: nobody else would end it.
            paused.end(settings.ARC_BACKUP_DIR)
            return said
    except LockedOut:
        return []
    except psycopg.Error as error:
        raise BackupError(f"PostgreSQL could not be asked what a killed restore left: {error}") from error


def _settle(journal: Journal) -> str:
    running = Running(journal)
    if journal.state == EXCHANGING:
        if running.is_exchanged():
            running.after_exchange()
            return f"Finished {_name(journal)}: the new database is live."
        with databases.connected(databases.MAINTENANCE) as outside:
            exchange.reopen(outside, journal)
        _mark_step(journal)
        running.put_back(f"{KILLED} {journal.live} is as it was before.")
        telling.failed(journal)
        return f"Undid {_name(journal)}: {journal.live} is as it was, and open."
    if journal.made_new:
        with databases.connected(databases.MAINTENANCE) as outside:
            databases.drop(outside, journal.new, journal.new_oid)
    _mark_step(journal)
    journal.state, journal.finished_at, journal.dropped_at = BROKEN, now(), now()
    journal.trouble = f"{KILLED} {journal.live} was not touched; start the restore again."
    running.folder.write(journal)
    telling.failed(journal)
    return f"Dropped what {_name(journal)} had prepared; {journal.live} was not touched."


def _mark_step(journal: Journal) -> None:
    if step := journal.running_step:
        step.state, step.sentence, step.finished_at = FAILED, KILLED, now()


def _name(journal: Journal) -> str:
    return f"the {journal.kind} {journal.id[:8]}" + (f" of {journal.file}" if journal.file else "")
