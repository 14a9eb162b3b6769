"""Jobs that delete copies: retention, and one copy by hand."""

from __future__ import annotations

from typing import Any

from django.db import transaction

from arcweb.backups import pruning
from arcweb.backups.exceptions import BackupError, LockedOut
from arcweb.backups.keeping import deletion
from arcweb.backups.places import fetching, uploading
from arcweb.backups.turns import turn
from arcweb.jobs.context import JobContext
from arcweb.jobs.exceptions import JobFailed, RetryLater
from arcweb.jobs.registry import handler

#: Seconds until a deletion, or a run that another backup or restore kept out, is tried again.
LATER = 120
#: The same during a restore, which may take hours: with the attempts below, five.
LATER_THAN_RESTORE = 600


@handler(
    pruning.KIND,
    label="Run retention of backups",
    unit="copies",
    max_attempts=30,
    permission="backups.delete_backup",
)
def run_prune(context: JobContext) -> dict[str, Any]:
    """No params. Also sends copies to the store that it has not, and sweeps the spool."""
    if deletion.restoring():
        raise RetryLater(
            LATER_THAN_RESTORE, "A restore is under way, and may need any copy: retention waits for its end."
        )
    try:
        with turn("retention"):
            done = pruning.prune(check=context.progress)
    except LockedOut as error:
        raise RetryLater(LATER, str(error)) from error
    except BackupError as error:
        raise JobFailed(str(error)) from error
    fetching.sweep_spool()
    with transaction.atomic():
        sent = uploading.enqueue_missing()
    if done.failed:
        words = " ".join(sorted(set(done.failed.values())))
        raise JobFailed(
            f"{len(done.deleted)} copies were deleted; of {len(done.failed)} more files are left, and the "
            f"next run tries again: {words}"
        )
    return {**done.to_json(), "uploads": len(sent)}


@handler(deletion.KIND, label="Delete backup", max_attempts=5, permission="backups.delete_backup")
def run_delete(context: JobContext) -> dict[str, Any]:
    """params: {"backup"}, whose deletion was decided. Twice is harmless; retention tries it again, too."""
    if trouble := deletion.finish(context.params["backup"]):
        raise RetryLater(LATER, trouble)
    return {"deleted": True}
