"""What was prepared takes the place of the embedded cluster, and goes back: by renames, PostgreSQL stopped.

Whoever runs `make run` on the data does the renames, asked by a file; where nobody does, this process. What a
killed process left is settled by the next one that looks.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
from django.conf import settings
from django.core.management import call_command
from django.db import DatabaseError, connections

from arcweb import paused
from arcweb.backups import catalogue, erasures
from arcweb.backups.exceptions import BackupError
from arcweb.backups.physical import cluster, live, private_server
from arcweb.backups.physical.journal import (
    BROKEN,
    DROPPED,
    EXCHANGING,
    FINISHED,
    PREPARING,
    WAITING,
    Journal,
)
from arcweb.backups.physical.programs import Programs
from arcweb.backups.physical.recovery import KEPT, Told, journals, quiet, stepping
from arcweb.backups.restore import databases
from arcweb.backups.restore.carry import carry_over, settle_alone
from arcweb.backups.restore.journal import SKIPPED, now
from arcweb.backups.restore.running import in_words
from arcweb.embedded import restart, swap
from arcweb.embedded.errors import EmbeddedError
from arcweb.embedded.files import locked
from arcweb.embedded.run_lock import holder
from arcweb.embedded.stack import Stack
from arcweb.embedded.swap import Swap
from arcweb.events import Actor, record
from arcweb.events.actors import SYSTEM
from arcweb.events.sentences import describe

describe("restore.time-swapped", "put the database back to {object}")
describe("restore.time-undone", "undid putting the database back to {object}")
WHY = "The database is being put back to an earlier time."
#: Seconds that `make run` gets to restart PostgreSQL: it may have to write much before it stops.
WITHIN = 600.0
TYPE = "backups.restore"
#: What people must know about a cluster that took its place while PostgreSQL was stopped.
UNREAD = (
    "PostgreSQL was stopped, so nothing could be carried over: accounts with their passwords and "
    "deactivations, audit events and the catalogue of copies are those of then."
)
LEFT = "The process that did this stopped without a word (killed, or its machine went down)."


def exchange(journal: Journal, told: Told = quiet) -> None:
    """From the confirmation to the end; the caller holds the journals' lock. Raises BackupError: then the
    cluster of before is live, or, after a crash, the next start finishes the renames."""
    notes = journals()
    journal.state, journal.trouble = EXCHANGING, ""
    notes.write(journal)
    try:
        now_live = live.look()
        with _paused(journal, told):
            with stepping(journal, "carry", told) as step:
                said = _carry(now_live, journal.new, journal.target)
                step.sentence = " ".join(said) or "Nothing."
                if not now_live.running:
                    step.state = SKIPPED
            with stepping(journal, "exchange", told) as step:
                step.sentence = _renamed(now_live.stack, Swap(journal.id, journal.new, journal.before))
            with stepping(journal, "settle", told) as step:
                step.sentence = _settle(journal)
    except BaseException as error:
        # Whatever is renamed already stays so: the next look tells which of the two it is.
        if not _is_in_place(journal):
            _put_back(journal, in_words(error))
        else:
            journal.trouble = in_words(error)
            notes.write(journal)
        raise
    _finished(journal)
    _as_it_ran(now_live)


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
        journal.facts["undo"] = _carry(now_live, journal.before, since)
        journals().write(journal)
        _renamed(now_live.stack, Swap(journal.id, journal.before, journal.undone))
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
    _as_it_ran(now_live)


def _undo_failed(journal: Journal, trouble: str) -> None:
    """The restored cluster is live as it was. One of before that was tried and did not start lies aside, by
    another name, and no second try finds it: then nothing can be undone. The caller writes the journal."""
    swap.withdraw(settings.ARC_LAYOUT)  # else a start days later would do it, unasked
    journal.undoing, journal.trouble = "", trouble
    servers: Path = settings.ARC_LAYOUT.real_servers_dir
    aside = servers / Swap(journal.id, journal.before, journal.undone).back().old
    if not (servers / journal.before).is_dir() and aside.is_dir():
        journal.dropped_at = now()
        journal.trouble += (
            f" The cluster of before is now {aside}, and goes in a day: give it another name to keep it."
        )


def _undone(journal: Journal, actor: Actor) -> None:
    journal.undone_at = journal.undone_at or now()
    journal.keep_until = (datetime.now(UTC) + KEPT).isoformat()
    journals().write(journal)
    _bring_forward()
    _record("restore.time-undone", journal, actor)
    journal.undoing = ""
    journals().write(journal)


def discard(journal: Journal) -> None:
    """What was prepared goes; the live cluster stays. Raises BackupError while something works on it."""
    if journal.state != WAITING:
        raise BackupError(f"There is nothing prepared to discard: the restore is {journal.state}.")
    _remove(journal.new)
    journal.state, journal.dropped_at = DROPPED, now()
    journals().write(journal)


def sweep(moment: datetime | None = None) -> list[str]:
    """Removes clusters whose day is over, and what nobody waits for; sentences. Only of embedded servers."""
    if not settings.ARC_EMBEDDED:
        return []
    moment, said = moment or datetime.now(UTC), []
    wanted = set()
    for journal in journals().all():
        due = bool(journal.keep_until) and datetime.fromisoformat(journal.keep_until) <= moment
        if journal.state == WAITING and due:
            discard(journal)
            said.append(f"{journal.new} was prepared and never confirmed: it is gone.")
        elif journal.state == FINISHED and due and not journal.dropped_at:
            _remove(journal.undone if journal.undone_at else journal.before)
            journal.dropped_at = now()
            journals().write(journal)
            said.append(f"The cluster of before the restore to {journal.target} is gone: its day is over.")
        elif not journal.dropped_at:
            wanted |= {journal.new, journal.before, journal.undone}
    waiting = swap.asked(settings.ARC_LAYOUT)
    wanted |= {waiting.new, waiting.old} if waiting else set()
    for path in settings.ARC_LAYOUT.real_servers_dir.iterdir():
        old = moment.timestamp() - path.lstat().st_ctime > KEPT.total_seconds()
        if not old or path.name in wanted:
            continue
        if swap.NAME.fullmatch(path.name) or path.name.startswith(cluster.SCRATCH):
            shutil.rmtree(path, ignore_errors=True)
            said.append(f"{path.name} belongs to no restore: it is gone.")
    return said


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
        _remove(journal.new)
        journal.state, journal.finished_at = BROKEN, now()
        journal.trouble = f"{LEFT} The live cluster was not touched."
        journals().write(journal)
        return journal.trouble
    if _is_in_place(journal):
        _settle(journal)
        _finished(journal)
        return f"Finished the restore to {journal.target}: its cluster is live."
    _put_back(journal, f"{LEFT} The live cluster is as it was.")
    return f"The restore to {journal.target} was not done: the live cluster is as it was."


def _put_back(journal: Journal, trouble: str) -> None:
    """The live cluster is as it was. What was prepared waits again, unless it was tried and did not start."""
    swap.withdraw(settings.ARC_LAYOUT)
    journal.again()
    journal.state, journal.trouble = WAITING, trouble
    if not (settings.ARC_LAYOUT.real_servers_dir / journal.new).is_dir():
        journal.state, journal.finished_at = BROKEN, now()
    journals().write(journal)


def _as_it_ran(before: live.Live) -> None:
    """PostgreSQL is stopped again if it was stopped before, and nobody else looks after it."""
    if not before.running and holder(before.stack.layout) is None:
        let_go()
        before.stack.postgres.stop(lambda words: None)


def _is_in_place(journal: Journal) -> bool:
    """Whether the renames have happened, or have begun and will be finished by the next start."""
    return _happened(Swap(journal.id, journal.new, journal.before))


def _is_undone(journal: Journal) -> bool:
    """The same of its undo."""
    return _happened(Swap(journal.id, journal.before, journal.undone))


def _happened(wanted: Swap) -> bool:
    servers: Path = settings.ARC_LAYOUT.real_servers_dir
    done = swap.done(settings.ARC_LAYOUT)
    return (done is not None and done.swap == wanted) or (servers / wanted.old).is_dir()


@contextmanager
def _paused(journal: Journal, told: Told) -> Iterator[None]:
    with stepping(journal, "pause", told) as step:
        paused.begin(settings.ARC_BACKUP_DIR, paused.Pause(journal.id, now(), WHY))
        step.sentence = "Pages answer that a restore is under way."
    try:
        yield
    finally:
        paused.end(settings.ARC_BACKUP_DIR)


def _carry(now_live: live.Live, folder: str, target: str) -> list[str]:
    """Into the cluster of that folder, before anybody works in it: erasures, and what live knows better than
    the moment `target` (ISO)."""
    data = now_live.stack.layout.real_servers_dir / folder
    try:
        version = int((data / "PG_VERSION").read_text()) * 10_000
    except (OSError, ValueError) as error:
        raise BackupError(f"{data} is no cluster any more ({error}). Nothing was changed.") from error
    programs = Programs(version, now_live.stack.user)
    # Log that goes before it is summarised would end the chain of incremental copies.
    keeps = {"wal_level": "replica", "archive_mode": "on", "max_wal_senders": "10", "summarize_wal": "on"}
    with private_server.running(programs, data, keeps, keep=True) as server:
        server.wait(lambda: None)
        with server.connect(settings.POSTGRES_DB, user=settings.POSTGRES_USER) as new:
            _unhurried(new)
            if now_live.running:
                let_go()
                with now_live.connect(settings.POSTGRES_DB, user=settings.POSTGRES_USER) as old:
                    _unhurried(old)
                    said = carry_over(old, new, target, trusted=True)
            else:
                said = [UNREAD, *settle_alone(new, settings.POSTGRES_DB)]
            since = datetime.fromisoformat(target)
            said += erasures.apply(new, erasures.newer_than(settings.ARC_BACKUP_DIR, since))
            new.commit()
        server.stop()
    return said


def _unhurried(connection: psycopg.Connection[Any]) -> None:
    """In a transaction from now on, without the limits and the search_path of role and database."""
    connection.execute(databases.UNHURRIED)
    connection.autocommit = False


def _renamed(stack: Stack, wanted: Swap) -> str:
    """Has the clusters exchanged by whoever looks after PostgreSQL; a sentence. Raises BackupError."""
    let_go()
    try:
        swap.ask(stack.layout, wanted)
        if holder(stack.layout) is not None:
            _by_make_run(stack, wanted)
        else:
            _here(stack)
    except EmbeddedError as error:
        raise BackupError(str(error)) from error
    done = swap.done(stack.layout)
    if done is None or done.swap != wanted:
        if not (stack.layout.real_servers_dir / wanted.new).is_dir():
            raise BackupError(
                f"Nothing was exchanged, for {wanted.new} is no longer in "
                f"{stack.layout.real_servers_dir}: the cluster that was live is live."
            )
        raise BackupError(
            f"PostgreSQL did not start on {wanted.new}: the cluster that was live before is live again."
        )
    return f"The cluster of before is kept as {wanted.old} for a day."


def _by_make_run(stack: Stack, wanted: Swap) -> None:
    began = time.time()
    restart.ask(stack.layout, "a restore to a chosen time")
    while (found := restart.outcome(stack.layout)) is None or found.ended < began:
        if time.time() - began > WITHIN:
            raise BackupError(
                f"`make run` did not exchange the clusters within {WITHIN:.0f} s, and is not asked any more. "
                "Look at its output, restart it, then try again."
            )
        if holder(stack.layout) is None:
            _here(stack)
            return
        time.sleep(0.1)
    if not found.well:
        raise BackupError(found.sentence)


def _here(stack: Stack) -> None:
    """Stops PostgreSQL, exchanges, starts it and looks; it runs afterwards if it ran before."""
    said: list[str] = []
    server = stack.postgres
    with locked(stack.layout.run_dir / "servers.lock"):
        ran = server.process() is not None
        wanted = swap.asked(stack.layout)
        try:
            server.stop(said.append)
            server.prepare(said.append)
            server.start()
            server.wait_until_ready(said.append)
            server.initialise(said.append)
        except EmbeddedError as error:
            done = swap.done(stack.layout)
            if wanted is None or done is None or done.swap != wanted:
                raise
            server.stop(said.append)
            swap.ask(stack.layout, wanted.back())
            server.prepare(said.append)
            if ran:
                server.start()
                server.wait_until_ready(said.append)
                server.initialise(said.append)
            raise BackupError(
                f"PostgreSQL did not start on {wanted.new}, so the cluster that was live before is live "
                f"again: {error}"
            ) from error


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


def let_go() -> None:
    """This process has no session with a database that is about to be another."""
    connections.close_all()


def _bring_forward() -> None:
    let_go()
    call_command("migrate", interactive=False, verbosity=0)


def _finished(journal: Journal) -> None:
    journal.state, journal.finished_at = FINISHED, now()
    journal.keep_until = (datetime.now(UTC) + KEPT).isoformat()
    journals().write(journal)


def _remove(name: str) -> None:
    if not swap.NAME.fullmatch(name):
        raise BackupError(f"{name!r} is no folder of a restore.")
    shutil.rmtree(settings.ARC_LAYOUT.real_servers_dir / name, ignore_errors=True)


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
