"""An erasure from beginning to end: written down outside of the database, recorded, carried out."""

from __future__ import annotations

from typing import Any

import psycopg
from django.conf import settings
from django.db import DatabaseError, connection, transaction

from arcweb.backups import erasures, server
from arcweb.backups.exceptions import BackupError
from arcweb.backups.restore import telling


def erase(kind: str, what: dict[str, Any], *, by: str) -> list[str]:
    """Erase that in live, and in whatever is restored from now on; what went, in sentences.

    On the disk before anything is erased: one that fails then is carried out by the next restore. Raises
    BackupError that says which of the two was done.
    """
    try:
        one = erasures.order(settings.ARC_BACKUP_DIR, kind, what, by=by)
    except OSError as error:
        raise BackupError(
            f"Nothing was erased, for it could not be written down in {settings.ARC_BACKUP_DIR}: "
            f"{error.strerror or error}. Make room or mend the folder, then erase again."
        ) from error
    try:
        with transaction.atomic():
            telling.erasure(one, f"{kind} {next(iter(what))}")
            connection.ensure_connection()
            return erasures.apply(connection.connection, [one])
    except (psycopg.Error, DatabaseError) as error:
        raise BackupError(
            "It is written down, and restores carry it out; the live database still holds it: "
            f"{server.first_line(error)}. Erase it again; manage.py backup erase has no limit of time."
        ) from error
