"""A copy on its way to the S3-compatible store: the data first, the manifest last, so that only what is whole
has one. Every step may be done again."""

from __future__ import annotations

import logging
from functools import partial
from uuid import UUID

from django.db import transaction
from django.db.models import QuerySet
from django.urls import NoReverseMatch, reverse

from arcweb.backups import manifest as manifests
from arcweb.backups import places
from arcweb.backups.exceptions import BackupError
from arcweb.backups.models import Backup
from arcweb.backups.places.base import PlaceError, Progress, nothing
from arcweb.backups.taking import register_afterwards
from arcweb.events import record
from arcweb.events.sentences import describe
from arcweb.jobs import dispatch, ledger
from arcweb.jobs.models import Job

logger = logging.getLogger(__name__)
KIND = "backup-upload"

describe("backup.send_asked", "asked for the copy {object} to be put into the S3-compatible store")
describe("backup.uploaded", "put the copy {object} into the S3-compatible store ({bytes} bytes)")


def wanting() -> QuerySet[Backup]:
    """Copies of ours that stand here and not in the store, and are not known to be bad; the newest first."""
    whole = Backup.objects.ours().present().exclude(state="bad")
    return whole.filter(local=True, remote=False).newest_first()


def may_be_sent(backup: Backup) -> bool:
    """Whether there is a store, and the copy stands here alone: as `wanting`, for one row of anybody's."""
    whole = backup.state in ("written", "hashed", "verified")
    return places.has_store() and whole and backup.local and not backup.remote


def ask(backup: Backup) -> Job:
    """The job that sends it, asked for by a person and on record; or the one under way, which waits for its
    next try no longer.

    Raises PlaceError when there is nothing to send, or nowhere.
    """
    if not may_be_sent(backup):
        raise PlaceError(f"{backup} is not sent: it is in the store, not whole here, or no store is set up.")
    with transaction.atomic():
        record("backup.send_asked", obj=backup)
        job = enqueue(backup)
        waits = Job.objects.filter(pk=job.pk, state=Job.State.QUEUED, next_retry_at__isnull=False)
        if waits.update(next_retry_at=None):
            transaction.on_commit(partial(dispatch.send, job.pk))
    return job


def enqueue(backup: Backup) -> Job:
    """The job that puts the copy into the store, in the caller's transaction; or the one under way."""
    return ledger.enqueue(
        KIND,
        target=backup.file,
        target_url=page_of(backup),
        params={"backup": str(backup.pk)},
        title=f"Put {backup.file} into the store",
        total=megabytes(backup.bytes or 0),
        unique_key=f"{KIND}:{backup.pk}",
    )


def enqueue_missing() -> list[Job]:
    """A job for each copy that the store has not; none when there is no store."""
    return [enqueue(backup) for backup in wanting()] if places.has_store() else []


def upload(backup_id: UUID | str, progress: Progress = nothing) -> str:
    """Put the copy into the store, and look that it is there; returns how that was looked at, in words.

    Raises BackupError in words, which then stand in the row's `remote_trouble` too, and what `progress`
    raises. Nothing that was cut counts as a copy: its manifest is not there.
    """
    backup = Backup.objects.present().filter(pk=backup_id).first()
    if backup is None:
        raise BackupError("The copy is gone, so that it is put nowhere.")
    try:
        how = _put(backup, progress)
    except BackupError as error:
        Backup.objects.filter(pk=backup.pk).update(remote_trouble=str(error))
        raise
    with transaction.atomic():
        kept = Backup.objects.present().filter(pk=backup.pk).update(remote=True, remote_trouble="")
        if kept:
            record("backup.uploaded", obj=backup, data={"bytes": backup.bytes, "checked": how})
    if not kept:  # deleted while it was sent
        remove(backup.file)
        raise BackupError("The copy was deleted meanwhile; the store does not keep it either.")
    return how


def remove(file: str) -> None:
    """Take a copy out of the store: the data, then the manifest. Raises PlaceError."""
    store = places.store()
    store.delete(file)
    store.delete(manifests.manifest_name(file))


def megabytes(count: int) -> int:
    """Bytes as the whole MB that jobs count, begun ones included."""
    return -(-count // 1024**2)


def after_taken(backup: Backup, _options: object) -> None:
    """Have a copy that was just taken put into the store, when there is one."""
    if places.has_store():
        with transaction.atomic():
            enqueue(backup)


def page_of(backup: Backup) -> str:
    """The address of the copy's page, for jobs and events; "" while there is none."""
    try:
        return reverse("admin:backups_backup", args=[backup.pk])
    except NoReverseMatch:
        return ""


def _put(backup: Backup, progress: Progress) -> str:
    folder, store = places.folder(), places.store()
    beside = manifests.manifest_name(backup.file)
    path, manifest = folder.path / backup.file, folder.path / beside
    missing = next((one.name for one in (path, manifest) if not one.is_file()), None)
    if missing:
        raise PlaceError(f"{missing} is not in {folder.label} any longer; scan the folder.")
    try:
        _, sha256 = manifests.read(manifest)
        how = store.put(path, backup.file, sha256=backup.sha256, progress=progress)
        store.put(manifest, beside, sha256=sha256)
    except OSError as error:
        raise PlaceError(f"{folder.label} cannot be read: {error.strerror or error}.") from error
    return how


register_afterwards(after_taken)  # the workers and the command import this module, and they take copies
