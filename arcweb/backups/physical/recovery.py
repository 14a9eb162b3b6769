"""A new cluster as of a chosen time, prepared beside the live one: base backup, log, promotion, a look at it.

Nothing of the live cluster is touched. What is prepared waits for its confirmation
(`arcweb.backups.physical.exchange`) or goes away.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
from django.conf import settings

from arcweb.backups import seals
from arcweb.backups.exceptions import BackupError
from arcweb.backups.physical import chain, cluster, copies, live, private_server, timeline
from arcweb.backups.physical.journal import BROKEN, PREPARING, WAITING, Journal, Journals
from arcweb.backups.physical.programs import Programs
from arcweb.backups.physical.timeline import Stretch
from arcweb.backups.restore.journal import DONE, FAILED, RUNS, SKIPPED, Step, now
from arcweb.backups.restore.running import in_words
from arcweb.embedded import wal
from arcweb.embedded.files import write_private

KEPT = timedelta(days=1)
#: Room for the unpacked copies, twice where they are put together, and the log on its way.
ROOM = 1.2
MB = 1024 * 1024
LAST = re.compile(r"last completed transaction was at log time (\S+ \S+)")
TOO_EARLY = "recovery ended before configured recovery target was reached"
Told = Callable[[Step], None]
Check = Callable[[], None]


def nothing() -> None:
    """Nobody stops it."""


def quiet(step: Step) -> None:
    """Nobody listens."""


def journals() -> Journals:
    return Journals(copies.folder())


@contextmanager
def stepping(journal: Journal, name: str, told: Told) -> Iterator[Step]:
    """One step in the journal, with its end."""
    step, notes = journal.step(name), journals()
    step.state, step.started_at, step.sentence, step.finished_at = RUNS, now(), "", ""
    notes.write(journal)
    told(step)
    try:
        yield step
    except BaseException as error:
        step.state, step.sentence, step.finished_at = FAILED, in_words(error), now()
        notes.write(journal)
        told(step)
        raise
    if step.state == RUNS:
        step.state = DONE
    step.finished_at = now()
    notes.write(journal)
    told(step)


def prepare(journal: Journal, told: Told = quiet, check: Check = nothing) -> None:
    """Up to the confirmation; the caller holds the journals' lock. Raises BackupError; then the journal says
    why, and the half-made cluster is gone."""
    journal.state = PREPARING
    journals().write(journal)
    now_live = None
    try:
        now_live = live.look()
        _prepare(journal, now_live, told, check)
    except BaseException as error:
        journal.state, journal.finished_at, journal.trouble = BROKEN, now(), in_words(error)
        if now_live is not None:
            shutil.rmtree(now_live.stack.layout.real_servers_dir / journal.new, ignore_errors=True)
        journals().write(journal)
        raise
    journal.state, journal.keep_until = WAITING, (datetime.now(UTC) + KEPT).isoformat()
    journals().write(journal)


def _prepare(journal: Journal, now_live: live.Live, told: Told, check: Check) -> None:
    moment = datetime.fromisoformat(journal.target)
    servers = now_live.stack.layout.real_servers_dir
    with stepping(journal, "log", told) as step:
        if now_live.running:
            step.sentence = f"The log up to {live.flush(now_live, check)} is in the archive."
        else:
            step.state = SKIPPED
            step.sentence = "PostgreSQL is stopped: what it had not archived yet is read from its own folder."
    with stepping(journal, "choose", told) as step:
        chosen, items = choose(moment, now_live)
        parts = chain.ancestors(items, items[chosen.point.id])
        refuse_strangers(parts)
        journal.copies, journal.timeline = [one.file for one in parts], now_live.timeline
        proven = "proven" if chosen.point.proven else "not proven yet"
        step.sentence = f"{chosen.point.file} ({proven}), consistent at {_words(chosen.point.at)}."
        if len(parts) > 1:
            step.sentence += f" It builds on {len(parts) - 1} more."
    version = int(parts[-1].manifest.server["version_num"])
    programs = Programs(version, now_live.stack.user)
    raw = sum(one.manifest.file.raw_bytes for one in parts)
    with stepping(journal, "unpack", told) as step:
        with cluster.scratch(int(raw * ROOM), beside=servers) as scratch:
            made = _unpack(parts, programs, scratch, check)
            (made / "standby.signal").unlink(missing_ok=True)
            write_private(made / "recovery.signal", "", owner=now_live.stack.user)
            made.rename(servers / journal.new)
        step.sentence = f"{raw // MB:,} MB in {len(parts)} file{'s' if len(parts) > 1 else ''}, each checked."
    with stepping(journal, "recover", told) as step:
        wal.prepare(servers, now_live.stack.user)
        with _recovered(journal, now_live, programs, servers / journal.new, moment, check) as server:
            found = LAST.findall(server.log.read_text(errors="replace"))
            journal.reached = found[-1].removesuffix("+00") if found else ""
            step.sentence = (
                f"The last transaction in it is of {journal.reached} UTC."
                if found
                else "No transaction came after the base backup until then."
            )
            step.state, step.finished_at = DONE, now()
            with stepping(journal, "check", told) as checked:
                checked.sentence = _compare(journal, now_live, server)
            server.stop()


def choose(moment: datetime, now_live: live.Live) -> tuple[Stretch, chain.Items]:
    """The base backup to begin with. Raises BackupError that says what can be reached instead."""
    if moment > datetime.now(UTC):
        raise BackupError(f"{_words(moment)} lies in the future.")
    picture = timeline.look(now_live.system, now_live.timeline)
    found = picture.best(moment)
    if found is None and not now_live.running and picture.stretches:
        # The rest of the log is in the stopped cluster.
        last = max(picture.stretches, key=lambda one: one.end)
        found = last if moment > last.end and not last.missing else None
    if found is not None:
        return found, chain.known()
    if picture.trouble:
        raise BackupError(picture.trouble)
    if not picture.stretches:
        raise BackupError(
            "There is no base backup of this cluster: there is no time to go back to. Take one "
            "(manage.py backup create --format base)."
        )
    spans = "; ".join(f"{_words(begin)} to {_words(end)}" for begin, end in picture.spans())
    gap = next((one.missing for one in picture.stretches if one.missing), "")
    because = f" The archive lacks {gap}." if gap else ""
    raise BackupError(f"{_words(moment)} cannot be reached. What can: {spans}.{because}")


def refuse_strangers(parts: list[chain.Item]) -> None:
    """Raises BackupError for a base backup that was not made here: what it holds runs as code."""
    for one in parts:
        if not seals.is_ours(one.manifest):
            raise BackupError(
                f"The manifest of {one.file} does not bear this installation's seal (ARC_SECRET_KEY), and a "
                "base backup holds code that runs in the server. If you trust it, restore it by hand: "
                "manage.py backup restore-time TIME --commands"
            )


def _unpack(parts: list[chain.Item], programs: Programs, folder: Path, check: Check) -> Path:
    found = []
    for number, one in enumerate(parts):
        target = folder / f"part{number}"
        opened = copies.opened(one.manifest, copies.folder())
        cluster.unpack(opened, one.manifest.file.raw_bytes, target, programs.user, check)
        cluster.verify(programs, target)
        found.append(target)
    if len(found) == 1:
        return found[0]
    cluster.combine(programs, found, folder / "whole")
    return folder / "whole"


@contextmanager
def _recovered(
    journal: Journal,
    now_live: live.Live,
    programs: Programs,
    data: Path,
    moment: datetime,
    check: Check,
) -> Iterator[private_server.Running]:
    """A server on the new cluster, promoted at that moment.

    It keeps its new log for the archive of the live cluster: with an empty archive_command nothing leaves it,
    and nothing is forgotten.
    """
    options = {
        "wal_level": "replica",
        "archive_mode": "on",
        "max_wal_senders": "10",
        "restore_command": wal.RESTORE_COMMAND,
        "recovery_target_action": "promote",
        "recovery_target_timeline": str(now_live.timeline or "latest"),
        "recovery_target_time": moment.astimezone(UTC).isoformat(),
    }
    if not now_live.running and now_live.stack.postgres.folder.is_dir():
        options["restore_command"] += f" ../{now_live.stack.postgres.folder.name}/pg_wal"
    try:
        with private_server.running(programs, data, options, keep=True) as server:
            server.wait(check)
            yield server
            return
    except private_server.NoStart as error:
        if TOO_EARLY not in str(error):
            raise
        if now_live.running:
            raise BackupError(
                f"The log that follows {journal.copies[-1]} ends before {_words(moment)}: choose an earlier "
                "time."
            ) from error
    # Nothing was committed after the moment, and nothing can be any more: the log's end is that moment.
    del options["recovery_target_time"]
    with private_server.running(programs, data, options, keep=True) as server:
        server.wait(check)
        yield server


def _compare(journal: Journal, now_live: live.Live, server: private_server.Running) -> str:
    """Counts the tables of the application's database, here and in the live cluster."""
    with server.connect(settings.POSTGRES_DB) as connection:
        new = live.counted(connection)
    old: dict[str, int] = {}
    if now_live.running:
        with suppress(psycopg.Error), now_live.connect(settings.POSTGRES_DB) as connection:
            old = live.counted(connection)
    names = sorted(new.keys() | old.keys())
    rows: list[dict[str, Any]] = [
        {"table": name, "live": old.get(name), "new": new.get(name)} for name in names
    ]
    journal.tables = rows
    if not old:
        return f"{len(new)} tables with {sum(new.values()):,} rows were read."
    other = sum(one["live"] != one["new"] for one in rows)
    return f"{len(new)} tables with {sum(new.values()):,} rows were read; {other} differ from the live ones."


def _words(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
