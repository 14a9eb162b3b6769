"""Finishes or undoes what a killed restore left: at the next start of anything, never between the two.

What is true is asked of the server's catalogue: the new database bears the name of live, or it does not. What
cannot be settled (a full disk, say) keeps nobody from the pages where live is known to be whole.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from django.conf import settings
from django.db import DatabaseError

from arcweb import paused
from arcweb.backups.exceptions import BackupError, LockedOut
from arcweb.backups.physical import journal as times
from arcweb.backups.proving import unpacking
from arcweb.backups.restore import databases, exchange, health, telling
from arcweb.backups.restore.finishing import Finishing
from arcweb.backups.restore.journal import BROKEN, DONE, EXCHANGING, FAILED, PREPARING, Journal, now
from arcweb.backups.restore.running import folder, in_words

logger = logging.getLogger(__name__)
KILLED = "The process that did this stopped without a word (killed, or its machine went down)."
COMMAND = "manage.py backup recover"
TROUBLES = (BackupError, psycopg.Error, DatabaseError, OSError)


@dataclass(frozen=True)
class Left:
    """What could not be settled. whole: live is open, and wholly the old database or the new one."""

    name: str
    file: Path  #: its journal
    words: str
    whole: bool

    @property
    def sentence(self) -> str:
        if self.whole:
            return (
                f"Not settled yet is {self.name}: {self.words} Live is whole meanwhile. Try again: {COMMAND}"
            )
        return (
            f"Not settled is {self.name}: {self.words} Nobody knows whether live is whole, so nothing is "
            f"started on it. The journal is {self.file}. Mend what this says, then run: {COMMAND}"
        )


def needed() -> bool:
    """Whether something was left and nobody works on it. Looks at files alone."""
    if is_busy():
        return False
    return paused.is_on(settings.ARC_BACKUP_DIR) or bool(unsettled())


def is_busy() -> bool:
    """Whether a process works on a restore now."""
    return folder().is_locked()


def unsettled() -> list[str]:
    """What was begun and is not at its end, in words; nobody works on it unless `is_busy`."""
    ours = [_name(one) for one in folder().unfinished()]
    return ours + [one.title for one in _times().unfinished()]


def sweep() -> None:
    """Remove dumps, perhaps decrypted ones, that a killed process left unpacked; nobody's who lives."""
    with suppress(OSError):
        unpacking.sweep(Path(settings.ARC_BACKUP_DIR) / unpacking.SPOOL)


def recover() -> list[str]:
    """Settle everything that was left; what was done, in sentences. Safe to call at any time and at once.

    Nothing is done while a restore is under way. Raises BackupError for what could not be settled.
    """
    said, left = settle()
    if left:
        raise BackupError(" ".join(one.sentence for one in left))
    return said


def settle() -> tuple[list[str], list[Left]]:
    """The same, with what could not be settled. The pause ends unless live may not be whole.

    Raises BackupError when the pause cannot be ended.
    """
    sweep()
    if not needed():
        return [], []
    said: list[str] = []
    left: list[Left] = []
    try:
        with folder().locked("recovery"):
            for journal in folder().unfinished():
                _try(journal, said, left)
            _settle_times(said, left)
            # A pause without a restore behind it: nobody else would end it.
            if all(one.whole for one in left):
                _end_pause()
    except LockedOut:
        return [], []
    return said, left


def _try(journal: Journal, said: list[str], left: list[Left]) -> None:
    try:
        said.append(_settle(journal))
    except TROUBLES as error:
        logger.exception("The %s %s could not be settled.", journal.kind, journal.id)
        words = in_words(error).rstrip(".") + "."
        left.append(Left(_name(journal), folder().path / f"{journal.id}.json", words, _is_whole(journal)))
        if journal.is_active:
            journal.facts["unsettled"] = words
        with suppress(OSError):
            folder().write(journal)


def _settle(journal: Journal) -> str:
    running = Finishing(journal)
    journal.facts.pop("unsettled", None)
    if journal.state == EXCHANGING:
        if running.is_exchanged():
            try:
                running.after_exchange()
            except BackupError:
                if journal.is_active:
                    raise
                return f"Undid {_name(journal)}: {journal.trouble}"
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


def _is_whole(journal: Journal) -> bool:
    """By its numbers: the database of before, or the new one once it was looked at and works; and open."""
    try:
        with databases.connected(databases.MAINTENANCE) as outside:
            found = databases.named(outside, journal.live)
        if found is None or not found.open:
            return False
        if journal.state == PREPARING or found.oid == journal.live_oid:
            with databases.connected(journal.live):
                return True
        if journal.step("health").state != DONE:
            health.check(journal)
    except TROUBLES:
        return False
    return found.oid == journal.new_oid


def _settle_times(said: list[str], left: list[Left]) -> None:
    """Of restores to a chosen time: they exchange whole clusters, of embedded servers alone."""
    if not (waiting := _times().unfinished()):
        return
    from arcweb.backups.physical import exchange as clusters

    try:
        said += clusters.settle_left()
    except TROUBLES as error:
        logger.exception("A restore to a chosen time could not be settled.")
        words, whole = in_words(error).rstrip(".") + ".", _answers()
        left += [
            Left(one.title, _times().path_of(one), words, whole) for one in _times().unfinished() or waiting
        ]


def _answers() -> bool:
    """Whether the cluster in place lets pages in: it was read through before anybody confirmed it."""
    with suppress(*TROUBLES), databases.connected(databases.live_name()):
        return True
    return False


def _times() -> times.Journals:
    return times.Journals(Path(settings.ARC_BACKUP_DIR))


def _end_pause() -> None:
    try:
        paused.end(settings.ARC_BACKUP_DIR)
    except OSError as error:
        raise BackupError(
            f"{paused.flag(settings.ARC_BACKUP_DIR)} cannot be removed ({error.strerror or error}), and "
            "while it is there every page answers that a restore is under way. Remove it by hand."
        ) from error


def _mark_step(journal: Journal) -> None:
    if step := journal.running_step:
        step.state, step.sentence, step.finished_at = FAILED, KILLED, now()


def _name(journal: Journal) -> str:
    return f"the {journal.kind} {journal.id[:8]}" + (f" of {journal.file}" if journal.file else "")


def as_json(left: list[Left]) -> list[dict[str, Any]]:
    return [
        {"name": one.name, "journal": str(one.file), "trouble": one.words, "whole": one.whole} for one in left
    ]
