"""What people ask for: a restore, its confirmation, an undo. Each is checked, written down, then done by a
process of its own."""

from __future__ import annotations

from arcweb.backups.exceptions import BackupError, LockedOut
from arcweb.backups.restore import databases
from arcweb.backups.restore.journal import CONFIRMED, WAITING, Journal
from arcweb.backups.restore.running import confirm, folder
from arcweb.backups.restore.source import Source

live_name = databases.live_name


def restore(source: Source, actor: dict[str, str], *, to_database: str = "") -> Journal:
    """A new restore, written down. to_database: a name of its own, and live stays. Raises LockedOut,
    BackupError."""
    _refuse_second()
    manifest = source.manifest
    journal = Journal.begin(
        "restore",
        live=databases.live_name(),
        actor=actor,
        new=to_database,
        swap=not to_database,
        backup=source.backup,
        file=source.path.name,
        taken_at=manifest.taken_at.isoformat() if manifest else "1970-01-01T00:00:00+00:00",
    )
    if to_database:
        _refuse_taken(to_database)
    journal.facts |= {"path": str(source.path), "trusted": source.trusted}
    folder().write(journal)
    return journal


def undo(original: Journal, actor: dict[str, str]) -> Journal:
    """The undo of that restore, written down and confirmed. Raises LockedOut, BackupError."""
    _refuse_second()
    if not original.can_undo:
        raise BackupError(
            "That restore cannot be undone: it was not finished, is undone already, or the database of "
            "before was dropped. The safety copy that was taken before it can be restored instead."
        )
    newer = [
        one for one in folder().all()
        if one.kind == "restore" and one.can_undo and one.finished_at > original.finished_at
    ]  # fmt: skip
    if newer:
        raise BackupError("A newer restore stands on top of that one: undo the newer one first.")
    journal = Journal.begin(
        "undo",
        live=original.live,
        actor=actor,
        new=original.before,
        new_oid=original.live_oid,
        of=original.id,
        backup=original.backup,
        file=original.file,
        # What came after this moment, the database of before has not: it took no connections from then on.
        taken_at=original.step("carry").started_at or original.finished_at,
    )
    journal.before = f"arc_undone_{journal.id[:8]}"
    confirm(journal, actor)
    journal.state = CONFIRMED
    folder().write(journal)
    return journal


def confirmed(journal: Journal, typed: str, actor: dict[str, str]) -> None:
    """Go on to the exchange. Raises BackupError when it does not wait, or the name typed is not live's."""
    if journal.state != WAITING:
        raise BackupError("This restore does not wait for a confirmation any more; look at its page again.")
    refuse_mistyped(journal.live, typed)
    _refuse_second()
    confirm(journal, actor)
    journal.state = CONFIRMED
    folder().write(journal)


def refuse_mistyped(live: str, typed: str) -> None:
    """Raises BackupError unless the live database's name was typed."""
    if typed.strip() != live:
        raise BackupError(f"Nothing was exchanged: to confirm, type the name of the live database, {live}.")


def _refuse_second() -> None:
    busy = [one for one in folder().all() if one.is_busy]
    if busy or folder().is_locked():
        what = f": the {busy[0].kind} of {busy[0].file}" if busy else ""
        raise LockedOut(f"A restore or undo is under way{what}. Wait for its end, then start again.")


def _refuse_taken(name: str) -> None:
    if len(name.encode()) > 63 or not name.strip():
        raise BackupError(f"{name!r} is no name of a database: it has 1 to 63 bytes.")
    with databases.connected(databases.MAINTENANCE) as outside:
        if databases.named(outside, name) is not None:
            raise BackupError(f"There is a database {name} already; choose a name that none has.")
