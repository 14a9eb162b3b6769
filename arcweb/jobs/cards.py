"""What the overview shows of the job ledger."""

from __future__ import annotations

from collections.abc import Mapping

from django.db.models.functions import Now
from django.http import HttpRequest
from django.urls import reverse

from arcweb.jobs.models import Job
from arcweb.jobs.samplers import count_jobs
from arcweb.panels import Card, Concern, Panel, State, register_panel
from arcweb.watches import Outlook, Watch, register_watch

#: Running jobs that the card shows with their progress.
MOST_SHOWN = 3


def failed_jobs(failed: float) -> tuple[Concern, ...]:
    if not failed:
        return ()
    what = "1 job" if failed == 1 else f"{failed:,.0f} jobs"
    url = f"{reverse('admin:jobs_job_changelist')}?state__exact=failed"
    return (Concern("warn", f"{what} failed in the last 24 hours.", url, "Show them"),)


def jobs_card(request: HttpRequest) -> Card:
    counts = count_jobs()
    running = Job.objects.filter(state=Job.State.RUNNING).light().order_by("-started_at")[:MOST_SHOWN]
    state: State = "warn" if counts.failed else "good" if counts.running or counts.queued else "idle"
    return Card(
        state,
        f"{counts.running:,} running"
        if counts.running
        else f"{counts.queued:,} waiting"
        if counts.queued
        else f"{counts.failed:,} failed"
        if counts.failed
        else "None running",
        concerns=failed_jobs(counts.failed),
        template="admin/panels/jobs.html",
        context={
            "running": list(running),
            "counts": counts,
            "list_url": reverse("admin:jobs_job_changelist"),
            "last": None if counts.running else _last(),
        },
    )


def _last() -> Job | None:
    """The job that was made last, of those that have ended."""
    return Job.objects.ended().filter(created_at__lte=Now()).light().order_by("-created_at").first()


def look(values: Mapping[str, float] | None) -> Outlook:
    """For the verdict, from the newest sample."""
    return Outlook() if values is None else Outlook(failed_jobs(values.get("failed", 0)))


register_watch(Watch("jobs", "jobs.view_job", "jobs", look, order=25))
register_panel(
    Panel(
        "jobs",
        "Jobs",
        "overview",
        "jobs.view_job",
        jobs_card,
        order=70,
        refresh=5,
        url_name="admin:jobs_job_changelist",
    )
)
