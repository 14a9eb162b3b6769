"""Folders of clusters that nobody waits for any more go: by a person's word, or when their day is over."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime

from django.conf import settings

from arcweb.backups.exceptions import BackupError
from arcweb.backups.physical.cluster import SCRATCH
from arcweb.backups.physical.journal import DROPPED, FINISHED, WAITING, Journal
from arcweb.backups.physical.recovery import KEPT, journals
from arcweb.backups.restore.journal import now
from arcweb.embedded import swap


def discard(journal: Journal) -> None:
    """What was prepared goes; the live cluster stays. Raises BackupError while something works on it."""
    if journal.state != WAITING:
        raise BackupError(f"There is nothing prepared to discard: the restore is {journal.state}.")
    remove(journal.new)
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
            remove(journal.undone if journal.undone_at else journal.before)
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
        if swap.NAME.fullmatch(path.name) or path.name.startswith(SCRATCH):
            shutil.rmtree(path, ignore_errors=True)
            said.append(f"{path.name} belongs to no restore: it is gone.")
    return said


def remove(name: str) -> None:
    """A cluster that is not live. Raises BackupError for a name that no restore gives."""
    if not swap.NAME.fullmatch(name):
        raise BackupError(f"{name!r} is no folder of a restore.")
    shutil.rmtree(settings.ARC_LAYOUT.real_servers_dir / name, ignore_errors=True)
