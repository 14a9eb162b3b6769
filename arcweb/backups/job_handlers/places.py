"""Jobs that carry copies: into the S3-compatible store, and out of it to this machine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from arcweb.backups.exceptions import BackupError
from arcweb.backups.models import Backup
from arcweb.backups.places import Unreachable, fetching, uploading
from arcweb.jobs.context import JobContext
from arcweb.jobs.exceptions import JobFailed, RetryLater
from arcweb.jobs.registry import handler

MB = 1024**2
#: Seconds until a store that did not answer is asked again: doubled each time, at most an hour.
FIRST_WAIT, LONGEST_WAIT = 30, 3600


@contextmanager
def _explained(attempt: int) -> Iterator[None]:
    try:
        yield
    except Unreachable as error:
        raise RetryLater(min(LONGEST_WAIT, FIRST_WAIT * 2 ** (attempt - 1)), str(error)) from error
    except BackupError as error:
        raise JobFailed(str(error)) from error


@handler(uploading.KIND, label="Put backup into the store", unit="MB", max_attempts=8)
def run_upload(context: JobContext) -> dict[str, Any]:
    """params: {"backup"}. Twice: the second sends it again, which harms nothing."""
    with _explained(context.attempt):
        how = uploading.upload(
            context.params["backup"], lambda done: context.progress(done // MB, message="sending")
        )
    return {"checked": how}


@handler(
    fetching.KIND,
    label="Fetch backup from the store",
    unit="MB",
    max_attempts=5,
    permission="backups.download_backup",
)
def run_fetch(context: JobContext) -> dict[str, Any]:
    """params: {"backup"}. Twice: the second finds it fetched."""
    backup = Backup.objects.present().filter(pk=context.params["backup"]).first()
    if backup is None:
        raise JobFailed("The copy is gone, so that there is nothing to fetch.")
    with _explained(context.attempt):
        path = fetching.fetch(backup, lambda done: context.progress(done // MB, message="fetching"))
    return {"bytes": path.stat().st_size}
