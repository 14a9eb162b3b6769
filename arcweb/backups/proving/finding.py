"""The first rungs: the file is there, its manifest is its own, and its bytes are those that were written."""

from __future__ import annotations

import errno
import hashlib
import os
from pathlib import Path

from django.conf import settings

from arcweb.backups import manifest as manifests
from arcweb.backups.exceptions import CorruptCopy
from arcweb.backups.manifest import Manifest
from arcweb.backups.models import Backup
from arcweb.backups.places import fetching
from arcweb.backups.proving.ladder import MB, Ladder, NotTried
from arcweb.charts import size

BLOCK = 1024 * 1024


def file(backup: Backup, ladder: Ladder) -> tuple[Path, str]:
    """Where the data file is on this machine, and how it came there. Raises CorruptCopy, PlaceError."""
    folder = Path(settings.ARC_BACKUP_DIR)
    path = folder / backup.file
    if backup.file and path.is_file():
        return path, f"{path} is there, {size(path.stat().st_size)}."
    if backup.remote:
        fetched = fetching.fetch(backup, lambda done: ladder.say("fetching the copy", done // MB))
        return fetched, f"{backup.file} was fetched from the store."
    if not _stands(folder):
        raise NotTried(
            f"{folder} holds no backups at all: is its disk mounted? Nothing is known about {backup.file}."
        )
    raise CorruptCopy(f"The file is gone: {path} does not exist, and no other place holds it.")


def _stands(folder: Path) -> bool:
    """Whether it is the folder of the backups, and not an empty one in its stead."""
    try:
        return any(
            manifests.FILE_NAME.fullmatch(path.name) or path.name.endswith(manifests.ENDING)
            for path in folder.iterdir()
        )
    except OSError:
        return False


def manifest(backup: Backup) -> Manifest:
    """The manifest beside the file, when it is the one that the catalogue knows. Raises CorruptCopy.

    A copy whose file was fetched from the store has none beside it: the folder may be away altogether.
    """
    folder = Path(settings.ARC_BACKUP_DIR)
    path, here = folder / manifests.manifest_name(backup.file), (folder / backup.file).is_file()
    if backup.local and (here or not backup.remote):
        try:
            found, sha256 = manifests.read(path)
        except FileNotFoundError:
            raise CorruptCopy(f"The manifest is gone: {path} does not exist.") from None
    else:
        found, sha256 = manifests.parse(fetching.manifest_of(backup))
    if found.id != str(backup.pk) or found.file.name != backup.file:
        raise CorruptCopy(
            f"{path.name} is the manifest of another copy, {found.file.name}: they were swapped."
        )
    if backup.local and backup.manifest_sha256 and sha256 != backup.manifest_sha256:
        raise CorruptCopy(
            f"{path.name} was changed since it was written: it has another hash than the catalogue."
        )
    if (found.file.bytes, found.file.sha256) != (backup.bytes, backup.sha256):
        raise CorruptCopy(f"{path.name} gives the file another size or hash than the catalogue.")
    return found


def manifest_beside(path: Path) -> Manifest:
    """The manifest beside any data file. Raises CorruptCopy, NotTried."""
    if not path.is_file():
        raise NotTried(f"There is no file {path}.")
    beside = path.with_name(manifests.manifest_name(path.name))
    try:
        found, _ = manifests.read(beside)
    except FileNotFoundError:
        raise NotTried(
            f"{path.name} has no manifest beside it ({beside.name}), so that there is nothing to compare it "
            "with."
        ) from None
    if found.file.name != path.name:
        raise CorruptCopy(
            f"{beside.name} is the manifest of another copy, {found.file.name}: they were swapped."
        )
    return found


def said(found: Manifest) -> str:
    tables = f", {len(found.tables):,} tables" if found.tables else ""
    return f"Its manifest is of {found.taken_at:%Y-%m-%d %H:%M:%S} UTC: {size(found.file.bytes)}{tables}."


def hashed(path: Path, found: Manifest, ladder: Ladder) -> str:
    """Reads the file from the disk, not from memory, and compares length and sha256. Raises CorruptCopy."""
    length = path.stat().st_size
    if length == 0:
        raise CorruptCopy(f"{path.name} is empty; it should have {size(found.file.bytes)}.")
    digest, head = hashlib.sha256(), b""
    try:
        with path.open("rb") as disk:
            os.posix_fadvise(disk.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            done = 0
            while block := disk.read(BLOCK):
                head = head or block[:64]
                digest.update(block)
                done += len(block)
                ladder.say(f"hashing: {size(done)} of {size(length)}", done // MB)
    except OSError as error:
        if error.errno != errno.EIO:
            raise
        raise CorruptCopy(f"The disk cannot read {path.name} ({error.strerror}).") from error
    if digest.hexdigest() == found.file.sha256 and length == found.file.bytes:
        return f"{size(length)} were read from the disk: the sha256 is that of the manifest."
    if length < found.file.bytes:
        missing = found.file.bytes - length
        raise CorruptCopy(f"{path.name} was cut: {missing:,} of {found.file.bytes:,} bytes are missing.")
    if length > found.file.bytes:
        more = length - found.file.bytes
        raise CorruptCopy(
            f"{path.name} has {more:,} bytes more than the {found.file.bytes:,} that were written."
        )
    if not _begins_right(head, found):
        raise CorruptCopy(f"{path.name} is another file: it does not even begin as a copy does.")
    raise CorruptCopy(
        f"{path.name} is damaged: it has its {length:,} bytes, but not the sha256 that was written."
    )


def _begins_right(head: bytes, found: Manifest) -> bool:
    if found.file.encryption:
        return head.startswith(b"age-encryption.org/")
    magic = {"zstd": b"\x28\xb5\x2f\xfd", "gzip": b"\x1f\x8b"}.get(found.file.compression, b"")
    return head.startswith(magic)
