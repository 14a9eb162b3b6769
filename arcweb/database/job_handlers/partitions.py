"""Jobs on the partitions of events: the next made, the default partition put in order, old months dropped."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from datetime import datetime
from typing import Any

from django.db import DatabaseError, ProgrammingError

from arcweb.database.partitions import archive, dropping, locking, moving
from arcweb.database.partitions.retention import DROP, MAKE, MOVE
from arcweb.database.parts import INSUFFICIENT_PRIVILEGE
from arcweb.database.standing import quoted, standing
from arcweb.events import partitions
from arcweb.jobs.context import JobContext
from arcweb.jobs.exceptions import JobCancelled, JobFailed, RetryLater
from arcweb.jobs.registry import handler
from arcweb.postgres.limits import was_stopped

#: Seconds until a table that was in use is tried again.
LATER = 300


@contextmanager
def _explained() -> Iterator[None]:
    """What a job raises, in the ledger's words."""
    try:
        yield
    except (moving.MoveError, dropping.DropError, archive.ArchiveError) as error:
        raise JobFailed(str(error)) from error
    except locking.Busy as error:
        raise RetryLater(LATER, str(error)) from error
    except ProgrammingError as error:
        if getattr(error.__cause__, "sqlstate", None) != INSUFFICIENT_PRIVILEGE:
            raise
        role = standing().role
        words = str(error).strip().splitlines()[0]
        raise JobFailed(
            f"The role {role} may not change the partitions of events ({words}). Nothing was changed. "
            f"Their owner or a superuser allows it with ALTER TABLE events.events OWNER TO {quoted(role)}; "
            "and the same for each partition."
        ) from error


@handler(
    MAKE,
    label="Make partitions",
    unit="months",
    queue="quick",
    max_attempts=5,
    permission="database.change_partitions",
)
def run_make(context: JobContext) -> dict[str, Any]:
    """params: {"months"}: so many ahead. Twice is harmless."""
    try:
        with _explained():
            problems = partitions.ensure(int(context.params["months"]))
    except DatabaseError as error:
        if was_stopped(error):
            raise RetryLater(30, "Events are in use without a pause; no partition was made yet.") from error
        raise
    if problems:
        raise JobFailed(" ".join(problems))
    return {"months": context.params["months"]}


@handler(
    MOVE,
    label="Empty the default partition",
    unit="rows",
    max_attempts=5,
    permission="database.change_partitions",
)
def run_move(context: JobContext) -> dict[str, Any]:
    """No params. What an earlier run copied is kept and completed."""
    with _explained():
        return asdict(moving.move(context.progress, context.wait))


@handler(
    DROP, label="Drop a month of events", unit="rows", max_attempts=5, permission="database.change_partitions"
)
def run_drop(context: JobContext) -> dict[str, Any]:
    """params: {"partition", "first", "until", "archive", "details"}. Twice: the second finds it gone."""
    params = context.params

    def tell_after(done: int, total: int | None, words: str) -> None:
        with suppress(JobCancelled):  # too late: the month is gone, and its names and addresses go too
            context.progress(done, total, words)

    with _explained():
        dropped = dropping.drop(
            params["partition"],
            datetime.fromisoformat(params["first"]),
            datetime.fromisoformat(params["until"]),
            archived=bool(params["archive"]),
            details=bool(params["details"]),
            mark=str(context.id).partition("-")[0],
            tell=context.progress,
            wait=context.wait,
            tell_after=tell_after,
        )
        return asdict(dropped)
