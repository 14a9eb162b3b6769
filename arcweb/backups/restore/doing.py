"""Does what was asked for, in this process and under the lock: for the command line, and for the page's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from arcweb.backups.exceptions import BackupError
from arcweb.backups.models import Backup
from arcweb.backups.restore import source as sources
from arcweb.backups.restore.finishing import Finishing
from arcweb.backups.restore.journal import (
    ASKED,
    BROKEN,
    CONFIRMED,
    FINISHED,
    WAITING,
    Journal,
    Step,
    now,
)
from arcweb.backups.restore.kept import NOBODY
from arcweb.backups.restore.preparing import Preparing
from arcweb.backups.restore.running import Running, folder, in_words
from arcweb.backups.restore.source import Source

Told = Callable[[Step], None]


def quiet(step: Step) -> None:
    """Nobody listens."""


def prepare(journal: Journal, source: Source, told: Told = quiet, *, live_is_broken: bool = False) -> None:
    """Up to the confirmation. Raises LockedOut, BackupError."""
    with folder().locked(journal.id):
        Preparing(journal, told).prepare(source, live_is_broken=live_is_broken)


def finish(journal: Journal, told: Told = quiet, *, live_is_broken: bool = False) -> None:
    """From the confirmation to the end. Raises LockedOut, BackupError."""
    with folder().locked(journal.id):
        Finishing(journal, told).finish(live_is_broken=live_is_broken)


def take_up(id_: str, told: Told = quiet) -> Journal:
    """Whatever that journal waits for a process to do. Raises LockedOut, BackupError."""
    journals = folder()
    with journals.locked(id_):
        journal = journals.read(id_)
        if journal is None or journal.state not in (ASKED, CONFIRMED):
            raise BackupError(f"There is no restore {id_} that waits to be done.")
        if journal.is_forgotten:
            # Whoever confirmed it expects nothing any more: live would be exchanged at any hour.
            Running(journal, told).put_back(NOBODY)
            raise BackupError(NOBODY)
        if journal.state == CONFIRMED:
            Finishing(journal, told).finish()
            return journal
        try:
            found = _source(journal)
        except BaseException as error:
            journal.state, journal.trouble, journal.finished_at = BROKEN, in_words(error), now()
            journals.write(journal)
            raise
        Preparing(journal, told).prepare(found)
        return journal


def sentence(journal: Journal) -> str:
    """How it stands, for people."""
    if journal.state == FINISHED and journal.kind == "undo":
        return (
            f"Undone: {journal.live} is the database of before. The restored one is kept for a day as "
            f"{journal.before}."
        )
    if journal.state == FINISHED and not journal.swap:
        return f"Restored into {journal.new}; {journal.live} was not touched."
    if journal.state == FINISHED:
        kept = (
            f" The one of before is kept as {journal.before} for a day: manage.py backup undo."
            if journal.live_oid
            else ""
        )
        return (
            f"Restored: {journal.live} is the copy of {journal.taken_at[:19]}.{kept} Everybody logs in anew."
        )
    if journal.state == WAITING:
        return f"{journal.new} is ready and waits for its confirmation. {journal.trouble}".strip()
    return journal.trouble or f"It is {journal.state}."


def _source(journal: Journal) -> Source:
    """As it was chosen on the page; an uploaded file by its place, which the journal alone keeps."""
    if journal.backup and (row := Backup.objects.filter(pk=journal.backup).first()):
        return sources.of_backup(row)
    return sources.find(str(Path(journal.facts["path"])), trust=False)
