"""Files that people bring: into the folder as copies that were found, after a look that believes nothing.

A copy with its manifest must be what the manifest says. A file of pg_dump's custom format alone gets a
manifest that says that there is nothing to compare it with: it can be restored, and never counts as proven.
What such a file may hold is asked here already, and again, more thoroughly, by whoever proves or restores it.
"""

from __future__ import annotations

import hashlib
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, cast

from django.conf import settings
from django.db import transaction
from django.urls import reverse

from arcweb.backups import catalogue, encryption, entries, places, restore_words, seals, streams
from arcweb.backups import manifest as manifests
from arcweb.backups.exceptions import BackupError, CorruptCopy, KeyMissing
from arcweb.backups.manifest import File, Manifest
from arcweb.backups.models import Backup
from arcweb.backups.places.base import Progress, nothing
from arcweb.backups.places.uploading import megabytes
from arcweb.backups.proving import archive
from arcweb.backups.proving.unpacking import BOMB, HARMLESS, MOST_RATIO
from arcweb.backups.transfer import dump_head
from arcweb.events import record
from arcweb.events.sentences import describe
from arcweb.jobs import ledger
from arcweb.jobs.models import Job

KIND = "backup-receive"
ZSTD = b"\x28\xb5\x2f\xfd"
BLOCK = 1024 * 1024
UNKNOWN = "It came from outside without a manifest: nothing is known to compare what it holds with."

describe("backup.received", "uploaded the copy {object} ({bytes} bytes)")
describe("backup.upload_asked", "uploaded a file of {bytes} bytes to be taken in as a copy")


def enqueue(data: str, beside: str, original: str, length: int) -> Job:
    """The job that takes in a file. data, beside: names in the spool; beside: of the manifest, or ""."""
    with transaction.atomic():
        record("backup.upload_asked", object_type="backups.backup", note=original, data={"bytes": length})
        return ledger.enqueue(
            KIND,
            target=original,
            target_url=reverse("admin:backups_upload"),
            params={"data": data, "manifest": beside, "original": original},
            title=f"Take in {original}",
            total=megabytes(length),
            unique_key=f"{KIND}:{data}",
        )


def accept(data: Path, beside: Path | None, original: str, progress: Progress = nothing) -> Backup:
    """Make a copy of the catalogue out of an uploaded file. beside: its manifest.

    original: the name that people know it by. Twice is harmless. Raises BackupError in words; then nothing is
    left in the folder.
    """
    if not data.is_file():
        raise BackupError("The uploaded file is not in the spool any longer: upload it again.")
    if beside is None:
        manifest = _bare(data, original, progress)
        manifest.write(places.folder().path)
    else:
        manifest = _with_manifest(data, beside, progress)
    with transaction.atomic():
        catalogue.scan()
        backup = Backup.objects.filter(pk=uuid.UUID(manifest.id)).first()
        if backup is None:
            raise BackupError("The catalogue did not take the copy; scan the folder, which says why.")
        facts = {"bytes": backup.bytes, "sha256": backup.sha256}
        record("backup.received", obj=backup, note=original, data=facts)
    return backup


def _with_manifest(data: Path, beside: Path, progress: Progress) -> Manifest:
    """Put both files into the folder, the manifest last."""
    manifest, sha256 = manifests.read(beside)
    folder, name = places.folder(), manifest.file.name
    target = folder.path / name
    if not (target.exists() and target.samefile(data)):  # a run that was killed left it there
        _check_new(manifest)
    _check_whole(data, manifest, progress)
    _look_inside(data, manifest)
    _move(data, target, manifest.file.sha256)  # when it fails, what stands there is somebody else's
    try:
        folder.put(beside, manifests.manifest_name(name), sha256=sha256)
    except BaseException:
        target.unlink(missing_ok=True)
        raise
    return manifest


def _check_new(manifest: Manifest) -> None:
    known = Backup.objects.filter(pk=uuid.UUID(manifest.id)).first()
    if known is not None and (known.delete_trouble or known.state == Backup.State.RUNNING):
        raise BackupError("The catalogue has this copy, and it is being taken or deleted just now.")
    if known is not None and known.local and known.state != Backup.State.DELETED:
        raise BackupError(f"The catalogue has this copy already: {known.file}.")
    if known is not None and known.sha256 and known.sha256 != manifest.file.sha256:
        raise BackupError(f"The catalogue knows {known.file} under this id, with other bytes.")
    if (places.folder().path / manifest.file.name).exists():
        raise BackupError(f"{manifest.file.name} stands in the folder already: scan the folder.")


def _check_whole(data: Path, manifest: Manifest, progress: Progress) -> None:
    """Length and sha256 are those of the manifest. Raises CorruptCopy."""
    length = data.stat().st_size
    if length != manifest.file.bytes:
        raise CorruptCopy(
            f"The file has {length:,} bytes, and its manifest says {manifest.file.bytes:,}: it was cut on "
            "its way, or the manifest is of another copy."
        )
    digest, done = hashlib.sha256(), 0
    with data.open("rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
            done += len(block)
            progress(done)
    if digest.hexdigest() != manifest.file.sha256:
        raise CorruptCopy("The file has not the sha256 of its manifest: one of the two was changed.")


def _look_inside(data: Path, manifest: Manifest) -> None:
    """What a file of the custom format from outside may not hold. Raises CorruptCopy, BackupError with names.

    Our own, known by the seal of its manifest, and one that cannot be opened here are left to the proof.
    """
    if manifest.format != "custom" or seals.is_ours(manifest):
        return
    try:
        keys = encryption.identities() if manifest.file.encryption else []
        with streams.open_copy(
            data,
            compression=manifest.file.compression,
            encrypted=bool(manifest.file.encryption),
            identities=keys,
        ) as opened:
            _check_contents(opened)
    except KeyMissing:
        return


def _check_contents(opened: IO[bytes]) -> archive.Archive:
    found = archive.read(cast("IO[bytes]", _Counted(opened)))
    if refusal := entries.from_outside(found.items).refusal():
        raise BackupError(refusal)
    return found


def _bare(data: Path, original: str, progress: Progress) -> Manifest:
    """Compress a dump into the folder; returns the manifest that it gets there, not yet written."""
    # The same again when the job is run again.
    started, identity = datetime.now(UTC), uuid.uuid5(uuid.NAMESPACE_OID, f"{KIND}:{data.name}")
    with _opened(data, original) as file:
        head = file.read(dump_head.HEAD)
    with _opened(data, original) as file:
        found = _check_contents(file)
    # Never newer than now: it must not look like a restore point that nobody took.
    taken_at = min(dump_head.made_at(head) or datetime(1970, 1, 1, tzinfo=UTC), started)
    to = encryption.recipients()
    name = manifests.file_name("postgres", "custom", identity, taken_at, encrypted=bool(to))
    with _opened(data, original) as file:
        written = streams.write_copy(
            _Bounded(file, data.stat().st_size),
            places.folder().path / name,
            compression="zstd",
            recipients=to,
            progress=progress,
        )
    kept = File(
        name=name,
        bytes=written.bytes,
        sha256=written.sha256,
        raw_bytes=written.raw_bytes,
        raw_sha256=written.raw_sha256,
        compression="zstd",
        encryption="age" if to else "",
    )
    now = datetime.now(UTC)
    return Manifest(
        id=str(identity),
        source="postgres",
        format="custom",
        trigger="found",
        taken_at=taken_at,
        started_at=started,
        finished_at=now,
        seconds=round((now - started).total_seconds(), 3),
        file=kept,
        server={"version": found.server, "product": "PostgreSQL"},
        client={"tool": "pg_dump", "version": found.client, "outside": original},
        database={"name": found.database},
        restore=restore_words.commands(kept, settings.DATABASES["default"]["USER"]),
        notes=[UNKNOWN, "Its time is that of the machine that made it, taken for UTC."],
    )


@contextmanager
def _opened(data: Path, original: str) -> Iterator[IO[bytes]]:
    """The dump as pg_dump wrote it, also out of zstd. Raises BackupError for what is neither."""
    with data.open("rb") as file:
        head = file.read(len(dump_head.MAGIC))
        file.seek(0)
        if head == dump_head.MAGIC:
            yield file
            return
    if not head.startswith(ZSTD):
        raise BackupError(
            f"{original} is no file of pg_dump's custom format (pg_dump -Fc), and has no manifest. SQL text "
            "from outside is not taken: it is a program, which nobody can look through. Other copies of this "
            "program come with their manifest."
        )
    with streams.open_copy(data, compression="zstd") as opened:
        yield opened


class _Counted:
    """Tells where it is, which a stream that is decompressed does not."""

    def __init__(self, source: IO[bytes]) -> None:
        self._source, self._place = source, 0

    def read(self, size: int = -1, /) -> bytes:
        block = self._source.read(size)
        self._place += len(block)
        return block

    def tell(self) -> int:
        return self._place


class _Bounded:
    """What comes out of a file may be so many times as long as the file, and no longer."""

    def __init__(self, source: IO[bytes], length: int) -> None:
        self._source, self._left = source, HARMLESS + MOST_RATIO * length

    def read(self, size: int = -1, /) -> bytes:
        block = self._source.read(size)
        self._left -= len(block)
        if self._left < 0:
            raise CorruptCopy(f"What comes out of the file is much longer than it is{BOMB}")
        return block


def _move(data: Path, target: Path, sha256: str) -> None:
    """Out of the spool to its name in the folder; the other name goes with the job's end."""
    if target.exists() and target.samefile(data):
        return
    try:
        data.chmod(0o600)
        os.link(data, target)  # refuses a name that stands already
        manifests.sync_folder(target.parent)
    except FileExistsError as error:
        raise BackupError(f"{target.name} stands in the folder already: scan the folder.") from error
    except OSError:  # a disk without such links
        places.folder().put(data, target.name, sha256=sha256)
