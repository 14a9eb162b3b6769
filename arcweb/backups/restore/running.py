"""Does a restore or an undo, step by step, in a process of its own. The journal says how far it is.

Up to the confirmation nothing but a new database is made. After it, whatever fails before the renames leaves
live as it was, open, and the new database ready for another try.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
from django.conf import settings
from django.db import connections

from arcweb import paused
from arcweb.backups import erasures
from arcweb.backups.exceptions import BackupError
from arcweb.backups.restore import (
    databases,
    differences,
    exchange,
    health,
    loading,
    migrating,
    pausing,
    safety,
    telling,
)
from arcweb.backups.restore.carry import (
    CARRIED,
    LIVE_UNREAD,
    by_hand,
    by_hand_alone,
    carry_over,
    settle_alone,
)
from arcweb.backups.restore.journal import (
    BEFORE_CONFIRMATION,
    BROKEN,
    DONE,
    EXCHANGING,
    FAILED,
    FINISHED,
    PREPARING,
    RUNS,
    SKIPPED,
    WAITING,
    WAITS,
    Folder,
    Journal,
    Step,
    now,
)
from arcweb.backups.restore.source import Source

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

    def prepare(self, source: Source, *, live_is_broken: bool = False) -> None:
        """Up to the confirmation. Raises BackupError; then nothing is left but the journal that says why.

        live_is_broken: nothing is compared with live.
        """
        journal = self.journal
        journal.state = PREPARING
        journal.live_oid = self._live_oid()
        self._write()
        try:
            telling.started(journal)
            with self._step("check") as step:
                step.sentence = loading.check(source, journal)
            with self._step("load") as step:
                self._load(source, step)
            # Before the migrations, which change what the manifest tells of.
            with self._step("compare") as step:
                step.sentence = loading.compare(source, journal, self._progress(step))
            with self._step("migrate") as step:
                step.sentence = " ".join([migrating.bring_forward(journal.new), *self._erase()])
            with self._step("differ") as step:
                step.sentence = self._differ(live_is_broken)
        except BaseException as error:
            self._give_up(error)
            raise
        journal.state = WAITING if journal.swap else FINISHED
        journal.keep_until = (datetime.now(UTC) + KEPT).isoformat()
        journal.finished_at = "" if journal.swap else now()
        self._write()

    def finish(self, *, live_is_broken: bool = False) -> None:
        """From the confirmation to the end. Raises BackupError; then live is as it was.

        live_is_broken: nothing is read from live, neither a copy nor what would be carried over.
        """
        journal = self.journal
        journal.state, journal.trouble = EXCHANGING, ""
        journal.live_oid = self._live_oid()
        self._write()
        try:
            if journal.kind == "undo":
                with self._step("check") as step:
                    step.sentence = self._look_for_before()
            else:
                # It may have waited for a day, and this version may be newer.
                migrating.bring_forward(journal.new)
            with self._step("safety") as step:
                step.sentence = self._safety(live_is_broken)
            with self._step("pause") as step:
                step.sentence = pausing.pause(journal, live_is_broken=live_is_broken)
            self._carry_and_exchange(live_is_broken)
        except BaseException as error:
            # Told by the catalogue alone: the answer to a COMMIT may be lost. When it cannot be asked, the
            # journal stays as it is, and the next start asks.
            if not self.is_exchanged():
                self._fall_back(error)
                raise
        self.after_exchange()

    def after_exchange(self) -> None:
        """What is left once the new database is live; the next start does it for a process that died here.

        Raises BackupError when the new database does not work: then the old one is live again.
        """
        journal = self.journal
        try:
            # Once: what died later may have let people in, and what they wrote is not to be taken away.
            if journal.step("health").state != DONE:
                with self._step("health") as step:
                    step.sentence = self._healthy()
                    self.reached("health: checked")
        except BaseException as error:
            if not self.is_exchanged():
                self._fall_back(error)
            raise
        telling.exchanged(journal, self.folder)
        self.reached("end: told")
        paused.end(settings.ARC_BACKUP_DIR)
        self.reached("end: unpaused")
        journal.state, journal.finished_at = FINISHED, now()
        journal.keep_until = (datetime.now(UTC) + KEPT).isoformat()
        self._write()

    def is_exchanged(self) -> bool:
        """Whether the new database is live, by the server's catalogue. Raises BackupError, psycopg.Error."""
        with databases.connected(databases.MAINTENANCE) as outside:
            return exchange.is_exchanged(outside, self.journal)

    def _healthy(self) -> str:
        """Raises BackupError when it is not; then the database of before is live again."""
        try:
            return health.check(self.journal)
        except (BackupError, psycopg.Error) as error:
            pause = paused.read(settings.ARC_BACKUP_DIR)
            # Before anybody works in it nothing of value is lost with it; once our pause ended, somebody may.
            if not self.journal.live_oid or pause is None or pause.restore != self.journal.id:
                raise
            exchange.back(self.journal)
            raise BackupError(
                f"The restored database does not work, so the one of before is live again: {in_words(error)}"
            ) from error

    def reached(self, point: str) -> None:
        """A point in the log; where a process was killed, the last line tells how far it came."""
        logger.info("Restore %s: %s", self.journal.id, point)

    def _load(self, source: Source, step: Step) -> None:
        journal = self.journal
        with databases.connected(databases.MAINTENANCE) as outside:
            self.reached("load: before the database")
            journal.new_oid = databases.create(outside, journal.new).oid
            self._write()
            self.reached("load: database made")
        step.sentence = loading.load(source, journal, self._progress(step))

    def _erase(self) -> list[str]:
        """What was erased since the copy goes at once: a database of its own may never be exchanged."""
        with databases.connected(self.journal.new, autocommit=False) as new:
            said = erasures.apply(new, erasures.newer_than(settings.ARC_BACKUP_DIR, self._since()))
            new.commit()
        return said

    def _since(self) -> datetime:
        """The moment that the copy holds; a file that is not ours may lie about it and gets everything."""
        trusted = self.journal.facts.get("trusted", True)
        return datetime.fromisoformat(self.journal.taken_at) if trusted else NEVER

    def _differ(self, live_is_broken: bool) -> str:
        journal = self.journal
        if not journal.live_oid:
            return "There is no live database to compare with."
        if live_is_broken:
            return "Nothing was compared, as asked: live is said to be broken."
        with databases.connected(journal.live) as live, databases.connected(journal.new) as new:
            found = differences.compare(live, new)
            journal.facts["agents"] = differences.agents(live, new)
            if journal.swap:  # a database of its own takes nothing over
                journal.facts["by_hand"] = by_hand(live, new, trusted=journal.facts.get("trusted", True))
        journal.differences = [
            one.to_json() | {"carried": one.table in CARRIED} for one in found if one.differs
        ]
        number = len(journal.differences)
        said = f"{number} of {len(found)} tables {'differs' if number == 1 else 'differ'} from live."
        if left := len(journal.facts.get("by_hand", ())):
            what = "One right or setting" if left == 1 else f"{left} rights and settings"
            said += f" {what} of live must be carried over by hand: the statements are listed."
        return said

    def _look_for_before(self) -> str:
        with databases.connected(databases.MAINTENANCE) as outside:
            found = databases.named(outside, self.journal.new)
        if found is None or (self.journal.new_oid and found.oid != self.journal.new_oid):
            raise BackupError(
                f"The database of before, {self.journal.new}, is no longer there: nothing can be undone. "
                "Restore the safety copy that was taken before that restore instead."
            )
        self.journal.new_oid = found.oid
        return f"{self.journal.new} is there."

    def _safety(self, live_is_broken: bool) -> str:
        journal = self.journal
        if not journal.live_oid:
            return "There is no live database to back up."
        if live_is_broken:
            return f"None was taken, as asked: live is said to be broken. It is kept as {journal.before}."
        backup = safety.take()
        journal.safety = str(backup.pk)
        return f"{backup.file} holds live as it was."

    def _carry_and_exchange(self, live_is_broken: bool) -> None:
        journal = self.journal
        with self._step("carry") as step:
            connections.close_all()
            self.reached("carry: before closing")
            with exchange.closed(journal, live_is_broken=live_is_broken) as (live, new):
                self.reached("carry: closed")
                since = self._since()
                journal.facts[LIVE_UNREAD] = live is None
                if live is not None:
                    trusted = journal.facts.get("trusted", True)
                    undone = self.folder.read(journal.of) if journal.of else None
                    undoes = undone.facts if undone else None
                    said = carry_over(live, new, since.isoformat(), trusted=trusted, undoes=undoes)
                else:
                    name = journal.live if journal.live_oid else ""
                    said = settle_alone(new, name)
                    journal.facts["by_hand"] = by_hand_alone(new, name)
                said += erasures.apply(new, erasures.newer_than(settings.ARC_BACKUP_DIR, since))
                self.reached("carry: before the commit")
                new.commit()
                self.reached("carry: committed")
            step.sentence = " ".join(said) or "Nothing."
        with self._step("exchange") as step:
            self.reached("exchange: before the renames")
            try:
                exchange.exchange(journal)
            except BaseException:
                self._reopen()
                raise
            self.reached("exchange: renamed")
            kept = f" The one of before is kept as {journal.before}." if journal.live_oid else ""
            step.sentence = f"{journal.live} is the restored database.{kept}"

    def _give_up(self, error: BaseException) -> None:
        """A preparation that failed leaves no database."""
        journal = self.journal
        journal.state, journal.finished_at = BROKEN, now()
        journal.trouble = in_words(error)
        with suppress(BackupError, psycopg.Error), databases.connected(databases.MAINTENANCE) as outside:
            if journal.made_new and databases.drop(outside, journal.new, journal.new_oid):
                journal.dropped_at = now()
        self._write()
        telling.failed(journal)

    def _fall_back(self, error: BaseException) -> None:
        """Live as it was: open, and nobody waits. What was prepared may be tried again.

        Where live cannot be opened the journal stays as it is, so that the next start does it: raises
        BackupError, psycopg.Error.
        """
        journal = self.journal
        self._reopen()
        paused.end(settings.ARC_BACKUP_DIR)
        self.put_back(in_words(error))
        telling.failed(journal)

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

    def _reopen(self) -> None:
        with databases.connected(databases.MAINTENANCE) as outside:
            exchange.reopen(outside, self.journal)

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


def skip(step: Step, why: str) -> None:
    step.state, step.sentence = SKIPPED, why


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


def facts(journal: Journal) -> dict[str, Any]:
    """What events say about it."""
    return {"restore": journal.id, "backup": journal.backup, "database": journal.live}
