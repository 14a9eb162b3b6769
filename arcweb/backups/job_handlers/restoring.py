"""Starts the process of a restore; restores parts."""

from __future__ import annotations

from typing import Any

from arcweb.backups.exceptions import BackupError, LockedOut
from arcweb.backups.models import Backup
from arcweb.backups.restore import launching, parts
from arcweb.backups.restore.requests import PART, START
from arcweb.backups.restore.source import of_backup
from arcweb.jobs.context import JobContext
from arcweb.jobs.exceptions import JobFailed, RetryLater
from arcweb.jobs.registry import handler


@handler(START, label="Start a restore", unit="processes", queue="quick", permission="backups.restore_backup")
def start(context: JobContext) -> dict[str, Any]:
    """A second one for the same restore finds its lock held and ends."""
    return {"process": launching.spawn("restore-run", context.params["restore"])}


@handler(PART, label="Restore a part", unit="rows", max_attempts=5, permission="backups.restore_backup")
def part(context: JobContext) -> dict[str, Any]:
    """In one transaction: run again, it finds what the first run has restored, and says so."""
    given = context.params
    backup = Backup.objects.filter(pk=given["backup"]).first()
    if backup is None:
        raise JobFailed("The copy is no longer in the catalogue.")
    try:
        context.progress(0, message="restoring the copy into a scratch database")
        source = of_backup(backup)
        if given.get("table"):
            found = parts.restore_table(source, given["table"], job=str(context.id))
            rows = found["rows"]
        else:
            name = given.get("name") or ""
            found = parts.restore_agent(source, given["agent"], name=name, job=str(context.id))
            rows = sum(found["rows"].values())
    except LockedOut as error:
        raise RetryLater(30, str(error)) from error
    except BackupError as error:
        raise JobFailed(str(error)) from error
    context.progress(rows, rows)
    return {"restored": found["sentence"]}
