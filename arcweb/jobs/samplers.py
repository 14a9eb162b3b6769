"""Samples of the job ledger."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from django.db.models.functions import Now

from arcweb.jobs.models import Job
from arcweb.samples.registry import Sampler, register_sampler

#: How long a failed job is news.
NEWS = timedelta(hours=24)


@dataclass(frozen=True)
class JobCounts:
    running: int
    queued: int
    failed: int  #: in the last 24 hours, and not started again since


def count_jobs() -> JobCounts:
    """Each count by an index of its state."""
    failed = Job.objects.filter(state=Job.State.FAILED, finished_at__gt=Now() - NEWS)
    return JobCounts(
        running=Job.objects.filter(state=Job.State.RUNNING).count(),
        queued=Job.objects.filter(state=Job.State.QUEUED).count(),
        failed=failed.count(),
    )


def take() -> dict[str, float]:
    counts = count_jobs()
    return {"running": counts.running, "queued": counts.queued, "failed": counts.failed}


register_sampler(Sampler("jobs", take))
