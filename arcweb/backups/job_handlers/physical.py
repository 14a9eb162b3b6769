"""Starts the process of a restore to a chosen time."""

from __future__ import annotations

from typing import Any

from arcweb.backups.physical.doing import START
from arcweb.backups.restore import launching
from arcweb.jobs.context import JobContext
from arcweb.jobs.registry import handler


@handler(
    START, label="Start a restore to a chosen time", unit="processes", permission="backups.restore_backup"
)
def start(context: JobContext) -> dict[str, Any]:
    """A second one for the same restore finds its lock held and ends."""
    return {"process": launching.spawn("restore-time-run", context.params["restore"])}
