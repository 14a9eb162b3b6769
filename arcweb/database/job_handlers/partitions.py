"""Jobs on the partitions of events: the next made, the default partition put in order, old months dropped."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Any

from django.db import DatabaseError

from arcweb.database.partitions import archive, dropping, locking, moving
from arcweb.database.partitions.retention import DROP, MAKE, MOVE
from arcweb.events import partitions
from arcweb.jobs.context import JobContext
from arcweb.jobs.exceptions import JobFailed, RetryLater
from arcweb.jobs.registry import handler
from arcweb.postgres.limits import was_stopped

#: Seconds until a table that was in use is tried again.
LATER = 300


@handler(MAKE, label="Make partitions", unit="months", queue="quick", max_attempts=5)
def run_make(context: JobContext) -> dict[str, Any]:
    """params: {"months"}: so many ahead. Twice is harmless."""
    try:
        problems = partitions.ensure(int(context.params["months"]))
    except DatabaseError as error:
        if was_stopped(error):
            raise RetryLater(30, "Events are in use without a pause; no partition was made yet.") from error
        raise
    if problems:
        raise JobFailed(" ".join(problems))
    return {"months": context.params["months"]}


@handler(MOVE, label="Empty the default partition", unit="rows", max_attempts=5)
def run_move(context: JobContext) -> dict[str, Any]:
    """No params. What an earlier run copied is kept and completed."""
    try:
        return asdict(moving.move(context.progress, context.wait))
    except moving.MoveError as error:
        raise JobFailed(str(error)) from error
    except locking.Busy as error:
        raise RetryLater(LATER, str(error)) from error


@handler(DROP, label="Drop a month of events", unit="rows", max_attempts=5)
def run_drop(context: JobContext) -> dict[str, Any]:
    """params: {"partition", "first", "until", "archive", "details"}. Twice: the second finds it gone."""
    params = context.params
    try:
        dropped = dropping.drop(
            params["partition"],
            datetime.fromisoformat(params["first"]),
            datetime.fromisoformat(params["until"]),
            archived=bool(params["archive"]),
            details=bool(params["details"]),
            mark=str(context.id).partition("-")[0],
            tell=context.progress,
            wait=context.wait,
        )
    except (dropping.DropError, archive.ArchiveError) as error:
        raise JobFailed(str(error)) from error
    except locking.Busy as error:
        raise RetryLater(LATER, str(error)) from error
    return asdict(dropped)
