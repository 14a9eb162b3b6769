"""Jobs that take in what people bring."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.db import transaction

from arcweb.backups import places
from arcweb.backups.exceptions import BackupError
from arcweb.backups.models import Backup
from arcweb.backups.pages import requests
from arcweb.backups.transfer import receiving
from arcweb.backups.transfer.spooling import PREFIX
from arcweb.jobs.context import JobContext
from arcweb.jobs.exceptions import ClaimLost, JobFailed
from arcweb.jobs.registry import handler

MB = 1024**2


@handler(
    receiving.KIND,
    label="Take in an uploaded backup",
    unit="MB",
    max_attempts=3,
    permission="backups.upload_backup",
)
def run_receive(context: JobContext) -> dict[str, Any]:
    """params: {"data", "manifest", "original"}: names in the spool, and the file's own. What was taken in is
    proven next; what was refused is deleted."""
    data, beside = (_in_spool(context.params[name]) for name in ("data", "manifest"))
    if data is None:
        raise JobFailed("The job names no uploaded file.")
    try:
        backup = receiving.accept(
            data,
            beside,
            context.params["original"],
            lambda done: context.progress(done // MB, message="looking at it"),
        )
    except BackupError as error:
        _discard(data, beside)
        raise JobFailed(str(error)) from error
    except ClaimLost:
        raise  # another worker has it
    with transaction.atomic():
        job = requests.verify(Backup.objects.get(pk=backup.pk))
    _discard(data, beside)
    return {"backup": str(backup.pk), "verify": str(job.pk)}


def _in_spool(name: str) -> Path | None:
    return places.spool() / name if name.startswith(PREFIX) and name == Path(name).name else None


def _discard(*paths: Path | None) -> None:
    for path in paths:
        if path is not None:
            path.unlink(missing_ok=True)
