"""A restore or an undo under way: its steps in the journal, which says how far it is."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import psycopg
from django.conf import settings

from arcweb.backups.exceptions import BackupError
from arcweb.backups.restore import databases
from arcweb.backups.restore.journal import (
    BEFORE_CONFIRMATION,
    BROKEN,
    DONE,
    FAILED,
    RUNS,
    WAITING,
    WAITS,
    Folder,
    Journal,
    Step,
    now,
)

logger = logging.getLogger(__name__)
#: How long the database of before is kept for an undo, and a prepared one for its confirmation.
KEPT = timedelta(days=1)
#: Before every erasure and every event.
NEVER = datetime.fromtimestamp(0, UTC)
#: Seconds between two notes of progress in the journal.
NOTE_EVERY = 1.0


def folder() -> Folder:
    return Folder(settings.ARC_BACKUP_DIR)


class Running:
    """One restore or undo under way; the caller holds the lock of the folder.

    told: called with each step that begins and ends, for the command line.
    """

    def __init__(self, journal: Journal, told: Callable[[Step], None] = lambda step: None) -> None:
        self.folder = folder()
        self.journal = journal
        self._told = told
        self._noted = 0.0

    def reached(self, point: str) -> None:
        """A point in the log; where a process was killed, the last line tells how far it came."""
        logger.info("Restore %s: %s", self.journal.id, point)

    def _since(self) -> datetime:
        """The moment that the copy holds; a file that is not ours may lie about it and gets everything."""
        trusted = self.journal.facts.get("trusted", True)
        return datetime.fromisoformat(self.journal.taken_at) if trusted else NEVER

    def put_back(self, trouble: str) -> None:
        """Note that live is unchanged: a restore waits again for its confirmation, an undo has failed."""
        journal = self.journal
        journal.trouble = trouble
        if journal.kind == "undo" or not journal.new_oid:
            journal.state, journal.finished_at = BROKEN, now()
        else:
            journal.state, journal.confirmed_at = WAITING, ""
            journal.keep_until = (datetime.now(UTC) + KEPT).isoformat()
        self._write()

    def _live_oid(self) -> int:
        with databases.connected(databases.MAINTENANCE) as outside:
            found = databases.named(outside, self.journal.live)
            return found.oid if found else 0

    @contextmanager
    def _step(self, name: str) -> Iterator[Step]:
        step = self.journal.step(name)
        step.state, step.sentence, step.started_at, step.finished_at = RUNS, "", now(), ""
        self._write()
        self._told(step)
        self.reached(f"{name}: begins")
        try:
            yield step
        except BaseException as error:
            step.state, step.sentence, step.finished_at = FAILED, in_words(error), now()
            self._write()
            self._told(step)
            raise
        step.state, step.finished_at = DONE, now()
        self._write()
        self._told(step)
        self.reached(f"{name}: done")

    def _progress(self, step: Step) -> Callable[[int, int], None]:
        def note(done: int, total: int) -> None:
            step.done, step.total = done, total
            if time.monotonic() - self._noted > NOTE_EVERY:
                self._write()

        return note

    def _write(self) -> None:
        self._noted = time.monotonic()
        self.folder.write(self.journal)


def confirm(journal: Journal, actor: dict[str, str]) -> None:
    """Make the steps after the confirmation ready to be done (again); the caller writes the journal."""
    journal.confirmed_by, journal.confirmed_at = actor, now()
    for step in journal.steps:
        if step.name not in BEFORE_CONFIRMATION or journal.kind == "undo":
            step.state, step.sentence, step.started_at, step.finished_at = WAITS, "", "", ""


def in_words(error: BaseException) -> str:
    """One sentence for people."""
    if isinstance(error, BackupError):
        return str(error)
    if isinstance(error, psycopg.Error):
        return (
            f"PostgreSQL refused: {str(error).strip().splitlines()[0]}"
            if str(error).strip()
            else "PostgreSQL went away."
        )
    if isinstance(error, KeyboardInterrupt | SystemExit):
        return "It was interrupted."
    return f"{type(error).__name__}: {error}"
