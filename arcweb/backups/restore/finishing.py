"""Does what was confirmed: a copy of live, a pause, what is carried over, the renames, a look at the new one.

Whatever fails before the renames leaves live as it was, open, and the new database ready for another try.
"""

from __future__ import annotations

from datetime import UTC, datetime

import psycopg
from django.conf import settings
from django.db import connections

from arcweb import paused
from arcweb.backups import erasures
from arcweb.backups.exceptions import BackupError
from arcweb.backups.restore import databases, exchange, health, migrating, pausing, safety, telling
from arcweb.backups.restore.carry import LIVE_UNREAD, by_hand_alone, carry_over, settle_alone
from arcweb.backups.restore.journal import DONE, EXCHANGING, FINISHED, now
from arcweb.backups.restore.running import KEPT, Running, in_words


class Finishing(Running):
    """One restore or undo from its confirmation on; the caller holds the lock of the folder."""

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
                trusted = journal.facts.get("trusted", True)
                if live is not None:
                    undone = self.folder.read(journal.of) if journal.of else None
                    undoes = undone.facts if undone else None
                    said = carry_over(live, new, since.isoformat(), trusted=trusted, undoes=undoes)
                else:
                    name = journal.live if journal.live_oid else ""
                    said = settle_alone(new, name, trusted=trusted)
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

    def _reopen(self) -> None:
        with databases.connected(databases.MAINTENANCE) as outside:
            exchange.reopen(outside, self.journal)
