"""The copy of live that is taken before anything takes its place."""

from __future__ import annotations

from arcweb.backups import taking
from arcweb.backups.exceptions import BackupError
from arcweb.backups.models import Backup


def take() -> Backup:
    """Whole and read back from the disk, or the restore goes no further. Raises BackupError."""
    try:
        return taking.take(taking.Options(trigger=Backup.Trigger.SAFETY.value))
    except BackupError as error:
        raise BackupError(
            f"No safety copy of the live database could be taken, and without one nothing is exchanged: "
            f"{error}"
        ) from error
