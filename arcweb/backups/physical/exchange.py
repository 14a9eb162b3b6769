"""What was prepared takes the place of the embedded cluster, and goes back, step by step as the journal says.

What a killed process left is settled by the next one that looks.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import NoReturn

import psycopg
from django.conf import settings
from django.core.management import call_command
from django.db import DatabaseError

from arcweb import paused
from arcweb.backups import catalogue
from arcweb.backups.exceptions import BackupError
from arcweb.backups.physical import carrying, live, removing, renames
from arcweb.backups.physical.journal import (
    BROKEN,
    EXCHANGING,
    FINISHED,
    PREPARING,
    WAITING,
    Journal,
)
from arcweb.backups.physical.recovery import KEPT, Told, journals, quiet, stepping
from arcweb.backups.restore.journal import SKIPPED, now
from arcweb.backups.restore.running import in_words
from arcweb.embedded import swap
from arcweb.embedded.errors import EmbeddedError
from arcweb.embedded.swap import Swap
from arcweb.events import Actor, record
from arcweb.events.actors import SYSTEM
from arcweb.events.sentences import describe

describe("restore.time-swapped", "put the database back to {object}")
describe("restore.time-undone", "undid putting the database back to {object}")
WHY = "The database is being put back to an earlier time."
TYPE = "backups.restore"
LEFT = "The process that did this stopped without a word (killed, or its machine went down)."


def exchange(journal: Journal, told: Told = quiet) -> None:
    """From the confirmation to the end; the caller holds the journals' lock. Raises BackupError: then the
    cluster of before is live, also where the new one does not work; after a crash, the next start finishes
    the renames."""
    notes = journals()
    journal.state, journal.trouble = EXCHANGING, ""
    notes.write(journal)
    try:
        now_live = live.look()
        with _paused(journal, told):
            with stepping(journal, "carry", told) as step:
                said = carrying.carry(now_live, journal.new, journal.target)
                step.sentence = " ".join(said) or "Nothing."
                if not now_live.running:
                    step.state = SKIPPED
            with stepping(journal, "exchange", told) as step:
                step.sentence = renames.renamed(now_live.stack, Swap(journal.id, journal.new, journal.before))
            try:
                with stepping(journal, "settle", told) as step:
                    step.sentence = _settle(journal)
            except Exception as error:
                # One that was stopped may be why it goes back: it need not start.
                if now_live.running:
                    _take_back(journal, now_live, in_words(error).rstrip(". \n") + ".")
                raise
    except BaseException as error:
        # Whatever is renamed then stays so: the next look tells which of the two it is.
        if journal.state == FINISHED:  # the restored one is live: that of before does not start any more
            notes.write(journal)
        elif not _is_in_place(journal):
            _put_back(journal, in_words(error))
        else:
            journal.trouble = in_words(error)
            notes.write(journal)
        raise
    _finished(journal)
    renames.as_it_ran(now_live)


def _take_back(journal: Journal, now_live: live.Live, trouble: str) -> NoReturn:
    """What was put in place does not work, and nobody has worked in it yet: the cluster of before is live
    again. Raises BackupError, which says whether it is."""
    try:
        renames.renamed(now_live.stack, _way_back(journal))
    except (BackupError, OSError) as error:
        said = (
            f"{trouble} The restored cluster is live, for the one of before could not be put back: "
            f"{in_words(error)}"
        )
        if not _is_undone(journal):
            _undo_failed(journal, said)
            said = journal.trouble
        raise BackupError(said) from error
    journal.dropped_at = now()
    raise BackupError(
        f"{trouble} So the cluster of before is live again. What was restored is kept as {journal.undone} "
        "for a day."
    )


def undo(journal: Journal, actor: Actor, told: Told = quiet) -> None:
    """The cluster of before is live again, with what live knows better; the restored one is kept for a day.

    Raises BackupError: then the restored one is live as it was.
    """
    if not journal.can_undo:
        raise BackupError("This restore cannot be undone: the cluster of before is gone, or it was undone.")
    now_live = live.look()
    journal.undoing, journal.undo_asked, journal.trouble = now(), False, ""
    journals().write(journal)
    paused.begin(settings.ARC_BACKUP_DIR, paused.Pause(journal.id, now(), WHY))
    try:
        # What came after this moment the cluster of before has not: nobody was let in from then on.
        since = journal.step("carry").started_at or journal.target
        journal.facts["undo"] = carrying.carry(now_live, journal.before, since)
        journals().write(journal)
        renames.renamed(now_live.stack, _way_back(journal))
        _undone(journal, actor)
    except BaseException as error:
        journal.trouble = in_words(error)
        if not _is_undone(journal):
            _undo_failed(journal, journal.trouble)
        journals().write(journal)
        if isinstance(error, BackupError):
            raise BackupError(journal.trouble) from error
        raise
    finally:
        paused.end(settings.ARC_BACKUP_DIR)
    renames.as_it_ran(now_live)


def _undo_failed(journal: Journal, trouble: str) -> None:
    """The restored cluster is live as it was. One of before that was tried and did not start lies aside, by
    another name, and no second try finds it: then nothing can be undone. The caller writes the journal."""
    swap.withdraw(settings.ARC_LAYOUT)  # else a start days later would do it, unasked
    journal.undoing, journal.trouble = "", trouble
    servers: Path = settings.ARC_LAYOUT.real_servers_dir
    aside = servers / Swap(journal.id, journal.before, journal.undone).back().old
    if not (servers / journal.before).is_dir() and aside.is_dir():
        journal.state, journal.finished_at = FINISHED, journal.finished_at or now()
        journal.dropped_at = now()
        journal.trouble += (
            f" The cluster of before is now {aside}, and goes in a day: give it another name to keep it."
        )


def _undone(journal: Journal, actor: Actor) -> None:
    journal.state, journal.finished_at = FINISHED, journal.finished_at or now()
    journal.undone_at = journal.undone_at or now()
    journal.keep_until = (datetime.now(UTC) + KEPT).isoformat()
    journals().write(journal)
    _bring_forward()
    _record("restore.time-undone", journal, actor)
    journal.undoing = ""
    journals().write(journal)


def settle_left() -> list[str]:
    """Finishes or takes back what a killed process left; sentences. The caller holds the journals' lock.

    Raises BackupError for one that could not be settled; the others are.
    """
    said, troubles = [], []
    for journal in journals().unfinished():
        try:
            said.append(_settle_one(journal))
        except (BackupError, DatabaseError, psycopg.Error, OSError) as error:
            troubles.append(in_words(error))
            if journal.trouble == troubles[-1]:
                continue  # its age tells how long nobody has settled it
            journal.trouble = troubles[-1]
            with suppress(OSError):
                journals().write(journal)
    if troubles:
        raise BackupError(" ".join(troubles))
    return said


def _settle_one(journal: Journal) -> str:
    if journal.undoing:
        if _is_undone(journal):
            _undone(journal, actor_of(journal))
            return f"Finished the undo of the restore to {journal.target}: the cluster of before is live."
        _undo_failed(journal, f"{LEFT} The restored cluster is live as it was.")
        journals().write(journal)
        return f"The restore to {journal.target} was not undone: the restored cluster is live as it was."
    if journal.state == PREPARING:
        removing.remove(journal.new)
        journal.state, journal.finished_at = BROKEN, now()
        journal.trouble = f"{LEFT} The live cluster was not touched."
        journals().write(journal)
        return journal.trouble
    if _is_in_place(journal):
        _withdraw_way_back(journal)
        _settle(journal)
        _finished(journal)
        return f"Finished the restore to {journal.target}: its cluster is live."
    _put_back(journal, f"{LEFT} The live cluster is as it was.")
    return f"The restore to {journal.target} was not done: the live cluster is as it was."


def _withdraw_way_back(journal: Journal) -> None:
    """Killed before it was taken back: no later start does it, when people have worked in what is live."""
    with suppress(EmbeddedError):  # a request that cannot be read is done by no start
        if swap.asked(settings.ARC_LAYOUT) == _way_back(journal) and not _is_undone(journal):
            swap.withdraw(settings.ARC_LAYOUT)


def _put_back(journal: Journal, trouble: str) -> None:
    """The live cluster is as it was. What was prepared waits again, unless it was tried and did not start."""
    swap.withdraw(settings.ARC_LAYOUT)
    journal.again()
    journal.state, journal.trouble = WAITING, trouble
    if not (settings.ARC_LAYOUT.real_servers_dir / journal.new).is_dir():
        journal.state, journal.finished_at = BROKEN, now()
        journal.dropped_at = journal.dropped_at or now()  # what lies aside has its day, and goes
    journals().write(journal)


def _is_in_place(journal: Journal) -> bool:
    """Whether the renames have happened, or have begun and will be finished by the next start."""
    return renames.happened(Swap(journal.id, journal.new, journal.before))


def _is_undone(journal: Journal) -> bool:
    """The same of its undo."""
    return renames.happened(_way_back(journal))


def _way_back(journal: Journal) -> Swap:
    return Swap(journal.id, journal.before, journal.undone)


@contextmanager
def _paused(journal: Journal, told: Told) -> Iterator[None]:
    with stepping(journal, "pause", told) as step:
        paused.begin(settings.ARC_BACKUP_DIR, paused.Pause(journal.id, now(), WHY))
        step.sentence = "Pages answer that a restore is under way."
    try:
        yield
    finally:
        paused.end(settings.ARC_BACKUP_DIR)


def _settle(journal: Journal) -> str:
    """Bring the schema forward, know all copies again, and see that it works. Raises BackupError."""
    _bring_forward()
    try:
        found = catalogue.scan()
        with live.look().connect(settings.POSTGRES_DB) as connection:
            counted = live.counted(connection)
    except (DatabaseError, psycopg.Error) as error:
        raise BackupError(f"The restored database does not answer as it should: {in_words(error)}") from error
    copies = found.known + len(found.found)
    _record("restore.time-swapped", journal, actor_of(journal))
    return (
        f"{len(counted)} tables with {sum(counted.values()):,} rows; the catalogue knows "
        f"{copies} cop{'y' if copies == 1 else 'ies'}. Take a base backup soon: a new timeline began."
    )


def _bring_forward() -> None:
    """Raises BackupError, whatever a migration raises: else no start could settle it, nor anybody undo it."""
    renames.let_go()
    try:
        call_command("migrate", interactive=False, verbosity=0)
    except Exception as error:
        raise BackupError(in_words(error)) from error


def _finished(journal: Journal) -> None:
    journal.state, journal.finished_at = FINISHED, now()
    journal.keep_until = (datetime.now(UTC) + KEPT).isoformat()
    journals().write(journal)


def actor_of(journal: Journal) -> Actor:
    """Who confirmed it, or asked for it."""
    who = journal.confirmed_by or journal.actor
    return Actor(who.get("kind", "system"), who.get("id", ""), who.get("name", "")) if who else SYSTEM  # type: ignore[arg-type]


def _record(kind: str, journal: Journal, actor: Actor) -> None:
    with suppress(DatabaseError):
        record(
            kind,
            object_type=TYPE,
            object_id=journal.id,
            label=journal.target,
            data={"target": journal.target, "copies": journal.copies, "kept": journal.before},
            actor=actor,
        )
