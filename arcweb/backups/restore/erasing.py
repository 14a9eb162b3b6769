"""An erasure from beginning to end: written down outside of the database, recorded, carried out."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.db import connection, transaction

from arcweb.backups import erasures
from arcweb.backups.restore import telling


def erase(kind: str, what: dict[str, Any], *, by: str) -> list[str]:
    """Erase that in live, and in whatever is restored from now on; what went, in sentences.

    On the disk before anything is erased: one that fails then is carried out by the next restore. Raises
    BackupError, OSError, django.db.Error.
    """
    one = erasures.order(settings.ARC_BACKUP_DIR, kind, what, by=by)
    with transaction.atomic():
        telling.erasure(one, f"{kind} {next(iter(what))}")
        connection.ensure_connection()
        return erasures.apply(connection.connection, [one])
