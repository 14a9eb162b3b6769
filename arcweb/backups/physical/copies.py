"""The files of base backups, as the raw tar that is in them."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import IO

from django.conf import settings

from arcweb.backups.encryption import identities
from arcweb.backups.exceptions import BackupError
from arcweb.backups.manifest import Manifest
from arcweb.backups.models import Backup
from arcweb.backups.streams import open_copy


def opened(manifest: Manifest, folder: Path) -> AbstractContextManager[IO[bytes]]:
    """The tar of that copy, one byte after the other. Raises as `streams.open_copy`, and BackupError."""
    path = folder / manifest.file.name
    if not path.is_file():
        raise BackupError(
            f"{manifest.file.name} is not in {folder}. Fetch it from where it was uploaded to, then retry."
        )
    return open_copy(
        path,
        compression=manifest.file.compression,
        encrypted=bool(manifest.file.encryption),
        identities=identities() if manifest.file.encryption else (),
    )


def folder() -> Path:
    """ARC_BACKUP_DIR."""
    return Path(settings.ARC_BACKUP_DIR)


def manifest_of(backup: Backup) -> Manifest:
    """Raises CorruptCopy."""
    return Manifest.from_json(backup.manifest)
