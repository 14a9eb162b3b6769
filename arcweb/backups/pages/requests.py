"""Jobs that people ask for: the event first, then the job, in one transaction."""

from __future__ import annotations

from dataclasses import asdict

from django.contrib import messages
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse

from arcweb.backups.models import Backup, Format, Source
from arcweb.backups.taking import Options
from arcweb.events import record
from arcweb.events.sentences import describe
from arcweb.jobs import ledger
from arcweb.jobs.models import Job

TAKE, VERIFY = "backup", "backup-verify"

describe("backup.take_asked", "asked for a backup: {source}, {format}")
describe("backup.verify_asked", "asked for the backup {object} to be proven")


def take(options: Options) -> Job:
    """The job that takes it; the one under way, when there is one."""
    title = f"Back up {Source(options.source).label} ({Format(options.format).label})"
    with transaction.atomic():
        record(
            "backup.take_asked",
            object_type="backups.backup",
            object_id="",
            data={"source": options.source, "format": options.format, "scope": options.scope},
        )
        return ledger.enqueue(
            TAKE,
            target=Source(options.source).label,
            target_url=reverse("admin:backups"),
            params=asdict(options),
            title=title,
            unique_key=TAKE,
        )


def verify(backup: Backup) -> Job:
    """The job that proves it; the one under way for this copy, when there is one."""
    with transaction.atomic():
        record(
            "backup.verify_asked",
            object_type="backups.backup",
            object_id=str(backup.pk),
            label=str(backup),
        )
        return ledger.enqueue(
            VERIFY,
            target=str(backup),
            target_url=reverse("admin:backups_backup", args=[backup.pk]),
            params={"backup": str(backup.pk)},
            title=f"Verify {backup}",
            unique_key=f"{VERIFY} {backup.pk}",
        )


def under_way() -> Job | None:
    """The backup that is queued or runs."""
    return Job.objects.active().filter(kind=TAKE).order_by("queued_at").first()


def follow(request: HttpRequest, job: Job) -> HttpResponse:
    """To the job's page, which shows its progress and its end."""
    messages.success(request, "The job is on its way; this page follows it to its end.")
    return HttpResponseRedirect(reverse("admin:jobs_job_change", args=[job.pk]))
