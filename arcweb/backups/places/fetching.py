"""Copies as files of this machine: where they stand, or out of the store into the spool, hashed."""

from __future__ import annotations

import hashlib
import os
import time
import uuid
from contextlib import suppress
from pathlib import Path
from typing import IO

from arcweb.backups import manifest as manifests
from arcweb.backups import places
from arcweb.backups.exceptions import BackupError, CorruptCopy, SpaceError
from arcweb.backups.models import Backup
from arcweb.backups.places.base import PlaceError, Progress, nothing
from arcweb.backups.places.uploading import megabytes, page_of
from arcweb.backups.streams import RESERVE, free_bytes
from arcweb.jobs import ledger
from arcweb.jobs.models import Job

KIND = "backup-fetch"
#: Seconds that a fetched or uploaded file stays in the spool without being touched.
SPOOL_SECONDS = 24 * 3600


def local_path(backup: Backup) -> Path | None:
    """The data file on this machine, in the folder or fetched before, with the length it should have."""
    folder = places.folder().path
    for path in (folder / backup.file, folder / "spool" / backup.file):
        try:
            if backup.file and path.stat().st_size == backup.bytes:
                return path
        except OSError:
            continue
    return None


def fetch(backup: Backup, progress: Progress = nothing) -> Path:
    """The data file of a copy on this machine, out of the store when it is not here.

    What comes out of the store has the length and sha256 of the catalogue, or CorruptCopy is raised. Raises
    SpaceError, PlaceError (Unreachable: try again later), and what `progress` raises.
    """
    if (found := local_path(backup)) is not None:
        with suppress(OSError):  # a folder that is only read needs no sweeping
            found.touch()  # nobody sweeps what is in use
        return found
    if not backup.remote:
        raise PlaceError(f"{backup.file or 'The copy'} stands neither in the folder nor in the store.")
    store = places.store()
    try:
        folder = places.spool()
        wanted, free = (backup.bytes or 0) + RESERVE, free_bytes(folder)
    except OSError as error:
        raise PlaceError(f"The spool of the backups cannot be written: {error.strerror or error}.") from error
    if free < wanted:
        raise SpaceError(
            f"{folder} has {free // 1024**2:,} MB free, and {wanted // 1024**2:,} MB are needed to fetch "
            f"{backup.file}. Make room, then retry."
        )
    target = folder / backup.file
    part = folder / f".{backup.file}.{uuid.uuid4().hex[:8]}.part"
    try:
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
            hashed = _Hashing(out, backup.bytes or 0, backup.file)
            store.get(backup.file, hashed, progress)
            if hashed.digest.hexdigest() != backup.sha256:
                raise CorruptCopy(
                    f"{backup.file} in {store.label} has other bytes than its manifest says: it was changed "
                    "or cut there."
                )
            out.flush()
            os.fsync(out.fileno())
        part.rename(target)
    except OSError as error:
        raise PlaceError(f"{folder} cannot keep {backup.file}: {error.strerror or error}.") from error
    finally:
        part.unlink(missing_ok=True)
    return target


def manifest_of(backup: Backup) -> bytes:
    """The bytes of the copy's manifest: of the file beside it, else as the catalogue has it."""
    path = places.folder().path / manifests.manifest_name(backup.file)
    try:
        return path.read_bytes()
    except OSError:
        return manifests.Manifest.from_json(backup.manifest).to_bytes()


def enqueue(backup: Backup) -> Job:
    """The job that fetches the copy, in the caller's transaction; the one under way if there is one."""
    if not backup.remote:
        raise BackupError(f"{backup.file or 'The copy'} stands neither in the folder nor in the store.")
    return ledger.enqueue(
        KIND,
        target=backup.file,
        target_url=page_of(backup),
        params={"backup": str(backup.pk)},
        title=f"Fetch {backup.file} from the store",
        total=megabytes(backup.bytes or 0),
        unique_key=f"{KIND}:{backup.pk}",
    )


def sweep_spool(seconds: float = SPOOL_SECONDS) -> int:
    """Delete what nobody has touched in the spool for so long; returns how many files. Raises OSError."""
    gone = 0
    for path in places.spool().iterdir():
        try:
            if path.is_file() and time.time() - path.stat().st_mtime > seconds:
                path.unlink()
                gone += 1
        except FileNotFoundError:
            continue
    return gone


class _Hashing:
    """Writes and hashes; stops what is longer than it should be."""

    def __init__(self, out: IO[bytes], most: int, name: str) -> None:
        self._out, self._left, self._name = out, most, name
        self.digest = hashlib.sha256()

    def write(self, data: bytes, /) -> int:
        self._left -= len(data)
        if self._left < 0:
            raise CorruptCopy(f"{self._name} is longer in the store than its manifest says.")
        self.digest.update(data)
        return self._out.write(data)
