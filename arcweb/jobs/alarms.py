"""Alarms of the job ledger and of Celery's queues."""

from __future__ import annotations

from datetime import timedelta

from django.db.models import Min, Q
from django.db.models.functions import Now
from django.utils import timezone

from arcweb.alarms import Alarm, Reading, Unknown, register_alarm
from arcweb.jobs.models import Job
from arcweb.jobs.progress import duration
from arcweb.samples.series import newest

#: How long a failed job is a reason to look.
NEWS = timedelta(hours=1)


def failed() -> Reading:
    """Jobs that failed, or lost their last worker, in the last hour and were not started again."""
    states = [Job.State.FAILED, Job.State.INTERRUPTED]
    count = Job.objects.filter(state__in=states, finished_at__gt=Now() - NEWS).count()
    if not count:
        return Reading(0, "No job failed in the last hour.")
    what = "1 job" if count == 1 else f"{count:,} jobs"
    return Reading(count, f"{what} failed in the last hour: each one's page says why, and starts it again.")


def waiting() -> Reading:
    """Seconds that the job has waited which waits longest and could run."""
    due = Job.objects.filter(state=Job.State.QUEUED).filter(
        Q(next_retry_at=None) | Q(next_retry_at__lte=Now())
    )
    oldest = due.aggregate(oldest=Min("queued_at"))["oldest"]
    if oldest is None:
        return Reading(0, "No job waits.")
    seconds = max(0.0, (timezone.now() - oldest).total_seconds())
    return Reading(
        round(seconds),
        f"A job has waited {duration(seconds)} for a free worker: start more (ARC_WORKERS), or see what the "
        "running jobs do.",
    )


def queued() -> Reading:
    """Tasks that wait in all of Celery's queues."""
    reading = newest(["celery"]).get("celery")
    if reading is None or reading.stale:
        raise Unknown("There is no fresh figure of Celery's queues.")
    counts = {
        name.removeprefix("waiting:"): count
        for name, count in reading.values.items()
        if name.startswith("waiting:")
    }
    longest = max(counts, key=lambda name: counts[name], default="")
    return Reading(
        sum(counts.values()),
        f"{sum(counts.values()):,.0f} tasks wait in Celery's queues, most of them in {longest}: workers do "
        "not keep up, or stand still."
        if any(counts.values())
        else "No task waits in Celery's queues.",
    )


SEE, LIST = "jobs.view_job", "admin:jobs_job_changelist"
register_alarm(
    Alarm(
        "jobs.failed",
        "Jobs fail",
        "Memories",
        failed,
        "jobs",
        1,
        "A job fails only after all its attempts, so that one is enough to look.",
        lasting=0,
        permission=SEE,
        url_name=LIST,
    )
)
register_alarm(
    Alarm(
        "jobs.waiting",
        "A job waits for long",
        "Memories",
        waiting,
        "s",
        900,
        "15 minutes are longer than most jobs run: by then a worker should have been free.",
        permission=SEE,
        url_name=LIST,
    )
)
register_alarm(
    Alarm(
        "celery.queued",
        "Celery's queues grow",
        "Redis",
        queued,
        "tasks",
        100,
        "The beat adds a few tasks every 5 s and they take milliseconds: 100 that stay are not worked on.",
        lasting=120,
        permission="cache_admin.view_server",
        url_name="admin:redis_queues",
        needs=("postgres", "redis-state"),
    )
)
