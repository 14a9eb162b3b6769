"""The job that proves a copy."""

from __future__ import annotations

from typing import Any

from django.db import transaction

from arcweb.backups import pruning
from arcweb.backups.exceptions import BackupError, LockedOut
from arcweb.backups.models import Backup
from arcweb.backups.proving.proof import prove
from arcweb.jobs.context import JobContext
from arcweb.jobs.exceptions import JobFailed, RetryLater
from arcweb.jobs.registry import handler

KIND = "backup-verify"
#: Seconds until a copy that somebody else verifies is looked at again.
LATER = 60


@handler(KIND, label="Verify backup", unit="MB", max_attempts=5)
def run_verify(context: JobContext) -> dict[str, Any]:
    """params: {"backup"}. Twice: it is proven twice. Cancelled: the scratch database is dropped, and the copy
    stays as it was."""
    try:
        outcome = prove(context.params["backup"], context)
    except Backup.DoesNotExist:
        raise JobFailed("The copy is gone from the catalogue: there is nothing to verify.") from None
    except LockedOut as error:
        raise RetryLater(LATER, str(error)) from error
    except BackupError as error:
        raise JobFailed(f"The copy was not verified: {error}") from error
    if outcome.verdict == "bad":
        raise JobFailed(f"The copy is bad: {outcome.trouble}")
    if outcome.verdict != "proven":
        raise JobFailed(f"The copy was not verified: {outcome.trouble}")
    if Backup.objects.filter(pk=context.params["backup"], trigger=Backup.Trigger.SCHEDULE).exists():
        # Only behind a copy that was proven: what failed must not cost an older one its place.
        with transaction.atomic():
            pruning.enqueue()
    return {"seconds": outcome.result["seconds"], "steps": len(outcome.result["steps"])}
