"""Deleting one copy: decided at once, carried out afterwards, and tried again until nothing is left.

A deletion is an event and a row that says `deleted` before the first file goes, so that a copy stops counting
before it stops existing. The data file goes before its manifest: a manifest alone can be nothing but the rest
of a deletion. Until everything is gone the row says why in `delete_trouble`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from uuid import UUID

from django.conf import settings
from django.db import connection, transaction
from django.db.models.functions import Now
from django.utils import timezone

from arcweb.backups import manifest as manifests
from arcweb.backups import places, retention
from arcweb.backups.exceptions import BackupError
from arcweb.backups.keeping import looks
from arcweb.backups.models import Backup
from arcweb.backups.places import uploading
from arcweb.backups.places.base import PlaceError
from arcweb.backups.restore.journal import Folder
from arcweb.events import record
from arcweb.events.sentences import describe
from arcweb.jobs import ledger
from arcweb.jobs.models import Job

KIND = "backup-delete"
#: What stands in `delete_trouble` from the decision until the files are gone.
BEGUN = "Its deletion was begun and has not ended."
RESTORING = "A restore is under way, and may need it: wait for its end."
#: One decision about what goes at a time, whoever decides.
DECIDING = "SELECT pg_advisory_xact_lock(hashtextextended('arcweb.backups.keeping', 0))"

describe("backup.deleted", "deleted the copy {object}: {reason}")


class Refused(BackupError):  # noqa: N818 - reads as a sentence
    """That copy is not deleted; the message says why."""


def why_not(backup: Backup) -> str:
    """Why that copy may not be deleted by hand: a sentence; "" if it may. A few queries."""
    if backup.state == Backup.State.DELETED:
        return "It is deleted already."
    if backup.state == Backup.State.RUNNING:
        return "It is being taken: cancel its job instead."
    if backup.pinned_at is not None:
        who = f" by {backup.pinned_by}" if backup.pinned_by else ""
        return f"It is pinned{who}: unpin it first."
    rows = looks.rows()
    try:
        seen = looks.standing(rows, ask_store=False)
    except PlaceError as error:
        return f"It cannot be seen what other copies there are. {error}"
    # It counts itself, seen or not; what shall stand in for it has to be there.
    copies = [looks.copy_of(row, seen | {backup.pk}) for row in rows]
    known = {copy.id: copy for copy in copies}
    id_ = str(backup.pk)
    if id_ not in known:
        return ""  # a failed run without a file
    if below := retention.children(id_, copies):
        return (
            f"{len(below)} incremental cop{'y builds' if len(below) == 1 else 'ies build'} upon it and would "
            "be lost with it: delete those first."
        )
    if retention.is_last_proven(id_, copies, timezone.now()):
        return (
            f"It is the last proven copy of {backup.get_source_display()} of its kind: with it, the last "
            "restore that is known to work would be lost. Take another and have it proven first."
        )
    return in_use(backup)


def delete(backup_id: UUID | str, *, reason: str) -> Job:
    """Decide that the copy is deleted; a job removes its files. Raises Refused in words.

    reason: for the event: "by hand".
    """
    with transaction.atomic():
        backup = Backup.objects.select_for_update(of=("self",)).filter(pk=backup_id).first()
        if backup is None:
            raise Refused("There is no such copy.")

        def allowed() -> str:
            if trouble := why_not(backup):
                raise Refused(trouble)
            return reason

        if claim(backup.pk, allowed) is None:
            raise Refused("It was changed while it was looked at: look again.")
        return ledger.enqueue(
            KIND,
            target=backup.file,
            target_url=uploading.page_of(backup),
            params={"backup": str(backup.pk)},
            title=f"Delete {backup.file or 'a failed backup'}",
            unique_key=f"{KIND}:{backup.pk}",
        )


def claim(pk: UUID, allowed: Callable[[], str]) -> Backup | None:
    """Decide that the copy goes: event and row, at once. None when somebody else did, or pinned it.

    allowed: gives the reason, or raises; asked when nobody else can decide.
    """
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute(DECIDING)
        reason = allowed()
        taken = Backup.objects.filter(pk=pk, pinned_at=None).exclude(state__in=["deleted", "running"])
        if not taken.update(state=Backup.State.DELETED, deleted_at=Now(), delete_trouble=BEGUN):
            return None
        backup = Backup.objects.get(pk=pk)
        record("backup.deleted", obj=backup, data={"bytes": backup.bytes or 0, "reason": reason})
        return backup


def in_use(backup: Backup) -> str:
    """What works with the copy now: a sentence; "" for nothing."""
    working = Job.objects.active().filter(params__backup=str(backup.pk)).exclude(kind=KIND).first()
    if working is not None:
        return f"A job works on it ({working.label}): wait for its end or cancel it."
    return RESTORING if restoring() else ""


def restoring() -> bool:
    """Whether a restore of any kind is under way here, which may need any copy: of a chain, or for safety."""
    return Folder(Path(settings.ARC_BACKUP_DIR)).is_locked()


def finish(backup_id: UUID | str) -> str:
    """Remove the files of a copy whose deletion was decided; returns why some are left, "" for none.

    The row says the same. Twice is harmless.
    """
    rows = Backup.objects.filter(pk=backup_id, state=Backup.State.DELETED)
    backup = rows.first()
    if backup is None:
        return ""
    try:
        remove_files(backup)
    except BackupError as error:
        rows.update(delete_trouble=str(error))
        return str(error)
    rows.update(local=False, remote=False, remote_trouble="", delete_trouble="")
    return ""


def remove_files(backup: Backup) -> None:
    """Every file of the copy goes, in every place. Raises PlaceError."""
    if not backup.file:
        return
    if backup.remote or backup.remote_trouble:
        if not places.has_store():
            raise PlaceError(
                f"{backup.file} is in an S3-compatible store too, and none is set up any longer "
                "(ARC_BACKUP_S3_BUCKET). Set it up again, or delete the object there and this row by hand."
            )
        uploading.remove(backup.file)
    folder = places.folder()
    folder.delete(backup.file)
    folder.delete(manifests.manifest_name(backup.file))
    places.Folder(folder.path / "spool").delete(backup.file)
