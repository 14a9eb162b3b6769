"""Does a restore up to its confirmation: nothing but a new database is made, and compared."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime

import psycopg
from django.conf import settings

from arcweb.backups import erasures
from arcweb.backups.exceptions import BackupError
from arcweb.backups.restore import databases, differences, loading, migrating, telling
from arcweb.backups.restore.carry import by_hand, carried, foretold
from arcweb.backups.restore.journal import BROKEN, FINISHED, PREPARING, WAITING, Step, now
from arcweb.backups.restore.running import KEPT, Running, in_words
from arcweb.backups.restore.source import Source


class Preparing(Running):
    """One restore until it waits for its confirmation; the caller holds the lock of the folder."""

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
                if journal.swap and not journal.facts.get("trusted", True):
                    alone = live_is_broken or not journal.live_oid
                    step.sentence += f" {foretold(live_is_broken=alone)}"
        except BaseException as error:
            self._give_up(error)
            raise
        journal.state = WAITING if journal.swap else FINISHED
        journal.keep_until = (datetime.now(UTC) + KEPT).isoformat()
        journal.finished_at = "" if journal.swap else now()
        self._write()

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

    def _differ(self, live_is_broken: bool) -> str:
        journal = self.journal
        trusted = bool(journal.facts.get("trusted", True))
        if not journal.live_oid:
            return "There is no live database to compare with."
        if live_is_broken:
            return "Nothing was compared, as asked: live is said to be broken."
        with databases.connected(journal.live) as live, databases.connected(journal.new) as new:
            found = differences.compare(live, new)
            journal.facts["agents"] = differences.agents(live, new)
            if journal.swap:  # a database of its own takes nothing over
                journal.facts["by_hand"] = by_hand(live, new, trusted=trusted)
        taken_over = carried(trusted=trusted)
        journal.differences = [
            one.to_json() | {"carried": one.table in taken_over} for one in found if one.differs
        ]
        number = len(journal.differences)
        said = f"{number} of {len(found)} tables {'differs' if number == 1 else 'differ'} from live."
        if left := len(journal.facts.get("by_hand", ())):
            what = "One right or setting" if left == 1 else f"{left} rights and settings"
            said += f" {what} of live must be carried over by hand: the statements are listed."
        return said

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
