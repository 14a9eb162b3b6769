"""Jobs that take backups."""

from __future__ import annotations

from typing import Any

from django.db import transaction

from arcweb.backups.exceptions import BackupError, LockedOut
from arcweb.backups.models import Backup
from arcweb.jobs import ledger
from arcweb.jobs.context import JobContext
from arcweb.jobs.exceptions import JobFailed, RetryLater
from arcweb.jobs.registry import handler

KIND, VERIFY = "backup", "backup-verify"
#: Seconds until a scheduled backup that met another is tried again, and how often: two hours in all.
LATER, ATTEMPTS = 600, 12


@handler(KIND, label="Take a backup", unit="MB", max_attempts=ATTEMPTS)
def run_backup(context: JobContext) -> dict[str, Any]:
    """params: fields of taking.Options. Twice: the second finds the copy of the first. With
    verify, the job that proves it follows."""
    from arcweb.backups import taking  # heavy: compression and its like

    options = taking.Options(**context.params)
    try:
        backup = taking.take(options, context, job=context.id)
    except LockedOut as error:
        if options.trigger == Backup.Trigger.SCHEDULE:
            raise RetryLater(LATER, str(error)) from error
        raise JobFailed(str(error)) from error
    except BackupError as error:
        raise JobFailed(str(error)) from error
    if options.verify:
        with transaction.atomic():
            ledger.enqueue(
                VERIFY,
                target=backup.file,
                params={"backup": str(backup.pk)},
                title=f"Verify {backup}",
                unique_key=f"{VERIFY} {backup.pk}",
            )
    return {"backup": str(backup.pk), "file": backup.file, "bytes": backup.bytes}
