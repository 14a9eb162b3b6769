"""What commands and pages ask of a restore to a chosen time, one at a time, under the journals' lock."""

from __future__ import annotations

import time
from datetime import UTC, datetime

from django.conf import settings

from arcweb import paused
from arcweb.backups.exceptions import BackupError
from arcweb.backups.physical import exchange, recovery, removing
from arcweb.backups.physical.carrying import UNREAD
from arcweb.backups.physical.journal import (
    ASKED,
    BROKEN,
    CONFIRMED,
    DROPPED,
    FINISHED,
    WAITING,
    Journal,
)
from arcweb.backups.physical.recovery import Told, journals, quiet
from arcweb.backups.restore.journal import now
from arcweb.embedded.restart import STALE
from arcweb.events import Actor
from arcweb.jobs import ledger

#: The kind of the job that starts a process.
START = "restore-time-start"


def refuse_mistyped(typed: str) -> None:
    """Raises BackupError unless it is the live database's name."""
    if typed != settings.POSTGRES_DB:
        raise BackupError(
            f"The live database is {settings.POSTGRES_DB!r}, not {typed!r}: nothing was changed. Everything "
            "in its PostgreSQL goes back, and the name says that you mean this one."
        )


def restore(moment: datetime, actor: dict[str, str], told: Told = quiet) -> Journal:
    """All of it, for the command line. Raises LockedOut, BackupError."""
    journal = Journal.begin(moment.astimezone(UTC).isoformat(), actor)
    with journals().folder.locked(journal.id):
        _left()
        recovery.prepare(journal, told)
        journal.confirmed_by = actor
        exchange.exchange(journal, told)
    return journal


def ask(moment: datetime, actor: dict[str, str]) -> Journal:
    """A journal that waits for a process to prepare it. Raises BackupError when one is under way."""
    _refuse_second()
    journal = Journal.begin(moment.astimezone(UTC).isoformat(), actor)
    journals().write(journal)
    return journal


def confirm(id_: str, actor: dict[str, str]) -> Journal:
    """The prepared one is confirmed and waits for a process to exchange it. Raises BackupError."""
    journal = journals().read(id_)
    if journal is None or journal.state != WAITING:
        raise BackupError("This restore waits for no confirmation any more; its page says how it stands.")
    if journal.keep_until <= now():
        raise BackupError("What was prepared is older than a day. Prepare it again.")
    journal.state, journal.confirmed_by, journal.trouble = CONFIRMED, actor, ""
    journals().write(journal)
    return journal


def enqueue(journal: Journal, address: str) -> None:
    """The short job that starts the process which does what the journal waits for; in a transaction."""
    ledger.enqueue(
        START,
        target=journal.target,
        target_url=address,
        params={"restore": journal.id},
        title=f"Start the restore to {journal.target[:19]} UTC",
        unique_key=f"{START}:{journal.id}",
    )


def ask_undo(id_: str, actor: dict[str, str]) -> Journal:
    """The journal's restore waits for a process to undo it. Raises BackupError."""
    _refuse_second(unsettled=id_)
    journal = journals().read(id_)
    if journal is None or not journal.can_undo:
        raise BackupError("This restore cannot be undone any more; its page says how it stands.")
    journal.undo_asked, journal.confirmed_by = True, actor
    journals().write(journal)
    return journal


def take_up(id_: str, told: Told = quiet) -> Journal:
    """Whatever that journal waits for a process to do. Raises LockedOut, BackupError."""
    with journals().folder.locked(id_):
        journal = journals().read(id_)
        if journal is None or not (journal.undo_asked or journal.state in (ASKED, CONFIRMED)):
            raise BackupError(f"There is no restore {id_} that waits to be done.")
        if _age(journal) >= STALE:
            _forget(journal)
            raise BackupError(journal.trouble)
        if journal.undo_asked:
            journal.undo_asked = False
            journals().write(journal)
            exchange.undo(journal, exchange.actor_of(journal))
            return journal
        if journal.state == CONFIRMED:
            exchange.exchange(journal, told)
        else:
            recovery.prepare(journal, told)
        return journal


def undo_last(actor: Actor) -> Journal:
    """The newest restore that can be undone, undone. Raises LockedOut, BackupError."""
    return undo(next((one.id for one in journals().all() if one.can_undo), ""), actor)


def undo(id_: str, actor: Actor) -> Journal:
    """Raises LockedOut, BackupError."""
    with journals().folder.locked(f"undo {id_}"):
        journal = journals().read(id_)
        if journal is None or not journal.can_undo:
            raise BackupError(
                "There is no restore to a chosen time that can be undone: each is kept for a day."
            )
        exchange.undo(journal, actor)
        return journal


def discard(id_: str) -> Journal:
    """Raises LockedOut, BackupError."""
    with journals().folder.locked(f"discard {id_}"):
        journal = journals().read(id_)
        if journal is None:
            raise BackupError("There is no such restore.")
        removing.discard(journal)
        return journal


def tidy() -> list[str]:
    """What time brings: prepared and replaced clusters go, killed work is settled; sentences.

    Raises LockedOut while a restore is under way, BackupError.
    """
    with journals().folder.locked("tidy"):
        return [*_left(), *removing.sweep()]


def sentence(journal: Journal) -> str:
    """How it stands, for people."""
    if journal.undone_at:
        unread = f" {UNREAD}" if UNREAD in journal.facts.get("undo", ()) else ""
        return f"Undone: the cluster of before is live. The restored one is kept for a day.{unread}"
    if journal.state == FINISHED:
        kept = (
            f"The cluster of before is kept as {journal.before} for a day: manage.py backup restore-time "
            f"--undo {settings.POSTGRES_DB}"
        )
        said = journal.trouble if journal.dropped_at else kept
        return f"PostgreSQL is as it was at {journal.target[:19]} UTC. {said}".strip()
    if journal.state == WAITING:
        return f"{journal.new} is ready and waits for its confirmation. {journal.trouble}".strip()
    if journal.state == DROPPED:
        return "What was prepared was discarded; the live cluster was not touched."
    if journal.state == BROKEN:
        return journal.trouble
    if journal.can_undo and not journal.undoing:
        return (
            f"The restored cluster is live, and does not work as it should: {journal.trouble} The one of "
            f"before is kept: manage.py backup restore-time --undo {settings.POSTGRES_DB}"
        )
    return journal.trouble or "It is under way."


def _refuse_second(unsettled: str = "") -> None:
    """unsettled: of a restore that may be undone though it never came to its end."""
    folder = journals().folder
    stuck = [
        one
        for one in journals().all()
        if one.is_busy
        and _age(one) < STALE
        and not (one.id == unsettled and one.can_undo and not one.undo_asked and not one.undoing)
    ]
    if folder.is_locked() or stuck or paused.is_on(settings.ARC_BACKUP_DIR):
        raise BackupError("Another restore is under way: wait for its end, then start again.")


def _age(journal: Journal) -> float:
    """Seconds since it was last written down: by whoever works on it, or asked for it."""
    try:
        return time.time() - journals().path_of(journal).stat().st_mtime
    except OSError:
        return 0.0


def _left() -> list[str]:
    said = exchange.settle_left()
    for journal in journals().all():
        if journal.is_active or not journal.is_busy or _age(journal) < STALE:
            continue
        _forget(journal)
    return said


def _forget(journal: Journal) -> None:
    """Whoever asked expects nothing any more: live would be exchanged at any hour."""
    journal.trouble = "No process took it up in time. Start it again."
    if journal.undo_asked:
        journal.undo_asked = False
    elif journal.state == CONFIRMED:
        journal.state = WAITING
    else:
        journal.state, journal.finished_at = BROKEN, now()
    journals().write(journal)
