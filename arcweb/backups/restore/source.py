"""Which copy is meant: a row of the catalogue, a manifest in the folder, or a file from anywhere."""

from __future__ import annotations

import hashlib
import logging
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from django.conf import settings
from django.db import DatabaseError, InterfaceError

from arcweb.backups import catalogue, encryption, manifest, seals, streams
from arcweb.backups.exceptions import BackupError, CorruptCopy
from arcweb.backups.manifest import Manifest
from arcweb.backups.models import Backup
from arcweb.backups.places import fetching
from arcweb.backups.proving import unpacking

logger = logging.getLogger(__name__)
BLOCK = 1024 * 1024
#: Bytes done, bytes in all.
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Source:
    """A file on this machine. trusted: this installation made it (arcweb.backups.seals), or somebody vouches
    for it; where it is False it may be hostile."""

    path: Path
    manifest: Manifest | None
    backup: str = ""
    trusted: bool = False

    @property
    def since(self) -> datetime:
        """What was erased after this moment may be in the copy; a file that is not ours may lie about it."""
        known = self.manifest is not None and self.trusted
        return self.manifest.taken_at if self.manifest and known else datetime.fromtimestamp(0, UTC)

    @property
    def plain(self) -> bool:
        return ".sql" in self.path.name

    def check(self, progress: Progress = lambda done, total: None) -> None:
        """The file has the length and hash of its manifest. Raises CorruptCopy, OSError."""
        if self.manifest is None:
            return
        wanted, length = self.manifest.file, self.path.stat().st_size
        if length != wanted.bytes:
            raise CorruptCopy(
                f"{self.path.name} has {length:,} bytes, and its manifest says {wanted.bytes:,}: it was cut, "
                "or it is another file."
            )
        found, done = hashlib.sha256(), 0
        with self.path.open("rb") as file:
            while block := file.read(BLOCK):
                found.update(block)
                done += len(block)
                progress(done, length)
        if found.hexdigest() != wanted.sha256:
            raise CorruptCopy(
                f"{self.path.name} is not what its manifest says (sha256 differs): its bytes were changed. "
                "Choose another copy."
            )

    @contextmanager
    def unpacked(self, progress: Progress = lambda done, total: None) -> Iterator[Path]:
        """The raw dump as a file in the spool, gone afterwards, and at the next start where the process was
        killed. Raises BackupError, OSError.

        Never more than the manifest says, than any dump of its length gives when it may be hostile, or than
        leaves the disk its reserve.
        """
        wanted, length = self.manifest.file if self.manifest else None, self.path.stat().st_size
        expected = wanted.raw_bytes if wanted else length
        with unpacking.temporary(Path(settings.ARC_BACKUP_DIR)) as target:
            unpacking.keep_reserve(target.parent, expected)
            with self._open() as raw:
                found = unpacking.unpack(
                    raw,
                    target,
                    packed=None if self.trusted else length,
                    claimed=wanted.raw_bytes if wanted else None,
                    progress=lambda done: progress(done, expected),
                )
            if wanted and (found.bytes, found.sha256) != (wanted.raw_bytes, wanted.raw_sha256):
                raise CorruptCopy(f"{self.path.name} unpacks to something else than its manifest says.")
            yield target

    @contextmanager
    def _open(self) -> Iterator[IO[bytes]]:
        name = self.path.name
        encrypted = name.endswith(manifest.AGE)
        inner = name.removesuffix(manifest.AGE)
        compression = {".zst": "zstd", ".gz": "gzip"}.get(Path(inner).suffix, "")
        if not compression and not encrypted:
            with self.path.open("rb") as file:
                yield file
            return
        with streams.open_copy(
            self.path,
            compression=compression,
            encrypted=encrypted,
            identities=encryption.identities() if encrypted else (),
        ) as raw:
            yield raw


def of_backup(backup: Backup) -> Source:
    """The copy of that row, fetched from the store where it is not here. Raises BackupError."""
    found = described(backup)
    return replace(found, path=fetching.fetch(backup))


def described(backup: Backup) -> Source:
    """The same without a look at the file, which may still be in the store. Raises BackupError."""
    if backup.source != "postgres" or backup.format not in ("custom", "plain"):
        raise BackupError(
            f"{backup} is a {backup.get_format_display()} of {backup.get_source_display()}: it is not "
            "restored this way. Its own page has the steps."
        )
    if backup.state not in ("written", "hashed", "verified", "bad"):
        raise BackupError(f"{backup} has no file: its state is {backup.state}.")
    own = Manifest.from_json(backup.manifest)
    return Source(Path(settings.ARC_BACKUP_DIR) / backup.file, own, str(backup.pk), seals.is_ours(own))


def find(said: str, *, trust: bool = False) -> Source:
    """An id (or the beginning of one) of the catalogue or of a manifest in the folder, or a file's path.

    trust: the caller vouches that this installation made the file. Raises BackupError when there is none.
    """
    path = Path(said)
    if path.is_file() and not path.name.endswith(manifest.ENDING):
        return _of_path(path.resolve(), trust)
    try:
        rows = list(Backup.objects.filter(pk__startswith=said.lower())[:2]) if _like_id(said) else []
        if len(rows) == 1:
            found = of_backup(rows[0])
            return Source(found.path, found.manifest, found.backup, found.trusted or trust)
    except (DatabaseError, InterfaceError) as error:
        logger.info("The catalogue cannot be asked, so the manifests are: %s", error)
    known = [
        one.manifest
        for one in catalogue.on_disk()
        if one.manifest and one.manifest.id.startswith(said.lower())
    ]
    if _like_id(said) and len(known) == 1:
        own = known[0]
        path = Path(settings.ARC_BACKUP_DIR) / own.file.name
        return Source(path, own, str(uuid.UUID(own.id)), trust or seals.is_ours(own))
    raise BackupError(
        f"There is no copy {said!r}: neither a file, nor the id of one that the catalogue or a manifest in "
        f"{settings.ARC_BACKUP_DIR} has. `manage.py backup list` shows them."
    )


def _of_path(path: Path, trust: bool) -> Source:
    beside = path.with_name(manifest.manifest_name(path.name))
    own = manifest.read(beside)[0] if beside.is_file() else None
    if own is not None and own.file.name != path.name:
        raise CorruptCopy(f"{beside.name} is the manifest of another copy, {own.file.name}.")
    id_ = str(uuid.UUID(own.id)) if own else ""  # in the one form that addresses have
    return Source(path, own, id_, trust or (own is not None and seals.is_ours(own)))


def _like_id(said: str) -> bool:
    return len(said) >= 6 and set(said.lower()) <= set("0123456789abcdef-")
