"""Where copies are: the folder of this machine, and S3-compatible storage when it is set up."""

from __future__ import annotations

from pathlib import Path

from django.conf import settings

from arcweb.backups.places.base import Place, PlaceError, Unreachable
from arcweb.backups.places.folder import Folder
from arcweb.backups.places.s3 import Access, S3Store

__all__ = ["Folder", "Place", "PlaceError", "S3Store", "Unreachable", "folder", "has_store", "spool", "store"]


def folder() -> Folder:
    """The folder ARC_BACKUP_DIR."""
    return Folder(Path(settings.ARC_BACKUP_DIR))


def has_store() -> bool:
    """Whether copies are to be in S3-compatible storage too."""
    return bool(settings.ARC_BACKUP_S3_BUCKET)


def store() -> S3Store:
    """The S3-compatible store; connects to nothing yet. Raises PlaceError in words when it is not set up."""
    if not has_store():
        raise PlaceError("No S3-compatible store is set up: ARC_BACKUP_S3_BUCKET is empty.")
    return S3Store(
        Access(
            bucket=settings.ARC_BACKUP_S3_BUCKET,
            prefix=settings.ARC_BACKUP_S3_PREFIX,
            endpoint=settings.ARC_BACKUP_S3_ENDPOINT,
            region=settings.ARC_BACKUP_S3_REGION,
            key_id=settings.ARC_BACKUP_S3_KEY_ID,
            secret=settings.ARC_BACKUP_S3_SECRET,
        )
    )


def spool() -> Path:
    """The folder for files on their way in or out, made when it is missing. Raises OSError."""
    found = Path(settings.ARC_BACKUP_DIR) / "spool"
    found.mkdir(mode=0o700, parents=True, exist_ok=True)
    return found
