"""Taking a copy, of whatever kind: one at a time, whole or not at all, and read back from the disk.

What makes the copy is a taker, registered for its formats; it gets a Work and returns the Manifest of the
file that it had the Work write. Everything else is here: the turn, the row and its states, the manifest
beside the file, the words of a failure, what a killed run left.
"""

from __future__ import annotations

import hashlib
import logging
import os
import uuid
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import psycopg
from django.conf import settings
from django.db import DatabaseError, transaction
from django.db.models.functions import Now
from django.utils.module_loading import import_string

from arcweb.backups import leftovers, seals, server, takers
from arcweb.backups.exceptions import BackupError, CorruptCopy
from arcweb.backups.manifest import Manifest
from arcweb.backups.models import Backup, Schedule
from arcweb.backups.querysets import installation
from arcweb.backups.turns import turn
from arcweb.backups.work import Context, Options, Quiet, Taker, Work
from arcweb.events import current_actor, record

__all__ = ["Context", "Options", "Quiet", "Work", "prepare_folder", "register_afterwards", "take"]

logger = logging.getLogger(__name__)
READ = 1024 * 1024


#: Called with the row after every copy that was taken, in order.
_afterwards: list[Callable[[Backup, Options], None]] = []


def register_afterwards(call: Callable[[Backup, Options], None]) -> None:
    """Have `call` called with each copy that was taken: for uploads and the like. It must be quick, and
    what it raises does not undo the copy."""
    if call not in _afterwards:
        _afterwards.append(call)


def take(options: Options, context: Context | None = None, *, job: UUID | None = None) -> Backup:
    """Take a copy and read it back; the row says hashed at the end. For jobs and commands, not for requests.

    job: whose copy it is; a second run of the same job gets the copy of the first. Raises LockedOut when
    another backup or restore is under way, BackupError with the words of a failure (the row says them, too),
    and what the context raises: then neither file nor row is left.
    """
    path = takers.taker(options.source, options.format)
    if path is None:
        known = ", ".join(takers.formats(options.source)) or "none"
        raise BackupError(
            f"{options.source} cannot be backed up in the format {options.format!r}; known: {known}."
        )
    taker: Taker = import_string(path)
    folder = prepare_folder()
    with turn("backup"):
        try:
            leftovers.end_abandoned(folder)
        except OSError as error:
            raise _of_disk(error, folder) from error
        if job is not None and (done := Backup.objects.of_job(job)):
            return done
        backup = Backup.objects.create(
            source=options.source,
            format=options.format,
            scope=options.scope,
            trigger=options.trigger,
            # It may have been deleted while its job waited.
            schedule=Schedule.objects.filter(pk=options.schedule_id or 0).first(),
            job=job,
            actor_name=current_actor().name,
            owner=installation(),
        )
        work = Work(backup.pk, options, context or Quiet(), folder, last=_last(options))
        try:
            manifest = seals.sealed(replace(_explained(taker, work), installation=backup.owner))
            _write(backup, manifest, manifest.write(folder))
            _read_back(work, manifest)
        except CorruptCopy as error:
            _bad(backup, str(error))
            raise
        except (BackupError, OSError) as error:
            trouble = error if isinstance(error, BackupError) else _of_disk(error, folder)
            leftovers.remove(folder, work.file)
            _fail(backup, str(trouble))
            raise trouble from error
        except Exception as error:
            if not _is_stop(error):
                _fail(backup, f"{type(error).__name__}: {error}")
                leftovers.remove(folder, work.file)
                raise
            _forget(backup, folder, work.file)
            raise
        except BaseException:
            _forget(backup, folder, work.file)
            raise
    backup.refresh_from_db()
    for call in _afterwards:
        try:
            call(backup, options)
        except Exception:
            logger.exception("The copy %s was taken, but what comes after it failed", backup)
    return backup


def prepare_folder() -> Path:
    """ARC_BACKUP_DIR, made where it is missing. Raises BackupError."""
    folder = Path(settings.ARC_BACKUP_DIR)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(13, "Permission denied")
    except OSError as error:
        raise _of_disk(error, folder) from error
    return folder


def _explained(taker: Taker, work: Work) -> Manifest:
    try:
        return taker(work)
    except psycopg.Error as error:
        raise BackupError(f"PostgreSQL ended the backup: {server.first_line(error)}") from error
    except CorruptCopy as error:  # of another copy: of this one there is no row yet that could be bad
        raise BackupError(str(error)) from error


def _of_disk(error: OSError, folder: Path) -> BackupError:
    where = Path(os.fsdecode(error.filename)) if isinstance(error.filename, str | bytes) else folder
    if where != folder and folder not in where.parents:
        return BackupError(
            f"{where} could not be used: {error.strerror or error}. Mend it, then start again."
        )
    inside = f" ({where.relative_to(folder)})" if where != folder else ""
    return BackupError(
        f"The folder of the backups, {folder}, could not be written: {error.strerror or error}{inside}. "
        "Make room or mend the folder (ARC_BACKUP_DIR), then start again."
    )


def _is_stop(error: BaseException) -> bool:
    """Whether it is how a job is told to stop, and no failure."""
    from arcweb.jobs.exceptions import ClaimLost, JobCancelled

    return isinstance(error, ClaimLost | JobCancelled)


def _last(options: Options) -> Manifest | None:
    alike = (
        Backup.objects.ours()
        .present()
        .filter(source=options.source, format=options.format, scope=options.scope)
    )
    newest = alike.order_by("-taken_at").first()
    try:
        return Manifest.from_json(newest.manifest) if newest else None
    except CorruptCopy:
        return None


def _write(backup: Backup, manifest: Manifest, manifest_sha256: str) -> None:
    server.reconnect()
    with transaction.atomic():
        parent = Backup.objects.filter(pk=uuid.UUID(manifest.parent)).first() if manifest.parent else None
        won = Backup.objects.filter(pk=backup.pk, state=Backup.State.RUNNING).update(
            state=Backup.State.WRITTEN,
            local=True,
            parent=parent,
            finished_at=Now(),
            **Backup.objects.fields(manifest, manifest_sha256),
        )
        if not won:
            raise BackupError("The row of this backup is gone: somebody ended it meanwhile.")
        backup.refresh_from_db()
        record(
            "backup.taken",
            obj=backup,
            data={"bytes": manifest.file.bytes, "seconds": manifest.seconds, "rows": _rows(manifest)},
        )


def _rows(manifest: Manifest) -> int:
    return sum(table.rows for table in manifest.tables)


def _read_back(work: Work, manifest: Manifest) -> None:
    """What the disk gives is what was written. Raises CorruptCopy, OSError, and as the context does."""
    work.message = "reading the copy back"
    path, found = work.folder / manifest.file.name, hashlib.sha256()
    with path.open("rb") as disk:
        os.posix_fadvise(
            disk.fileno(), 0, 0, os.POSIX_FADV_DONTNEED
        )  # what the disk has, not what memory has
        while block := disk.read(READ):
            found.update(block)
            work.check()
    if found.hexdigest() != manifest.file.sha256:
        raise CorruptCopy(
            f"{path} does not read back as it was written. The disk or the memory of this machine is at "
            "fault; the copy is kept and does not count."
        )
    server.reconnect()
    Backup.objects.filter(pk=work.id, state=Backup.State.WRITTEN).update(
        state=Backup.State.HASHED, hashed_at=Now()
    )


def _fail(backup: Backup, trouble: str) -> None:
    """The row says why. While PostgreSQL is away the next run does: it finds the row abandoned."""
    try:
        server.reconnect()
        with transaction.atomic():
            if Backup.objects.fail(backup.pk, trouble):
                record("backup.failed", obj=backup, note=trouble, data={"source": backup.source})
    except DatabaseError:
        logger.exception("The failure of backup %s could not be written: %s", backup.pk, trouble)


def _bad(backup: Backup, trouble: str) -> None:
    server.reconnect()
    with transaction.atomic():
        if Backup.objects.filter(pk=backup.pk, state=Backup.State.WRITTEN).update(
            state=Backup.State.BAD, trouble=trouble, checked_at=Now()
        ):
            record("backup.bad", obj=backup, note=trouble, data={"source": backup.source})


def _forget(backup: Backup, folder: Path, file: str) -> None:
    """It was cancelled: neither file nor row stays."""
    leftovers.remove(folder, file)
    try:
        server.reconnect()
        Backup.objects.filter(pk=backup.pk).delete()
    except DatabaseError:
        logger.exception("The row of the cancelled backup %s stays until the next one", backup.pk)
