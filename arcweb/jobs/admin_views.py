"""What people do to jobs."""

from __future__ import annotations

from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import permission_required
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.urls import reverse
from django.views.decorators.http import require_POST

from arcweb.jobs import ledger, registry
from arcweb.jobs.models import Job


def url(verb: str, job_id: UUID) -> str:
    """Where a POST does that to a job: "cancel" or "retry"."""
    return reverse(f"admin:jobs_job_{verb}", args=[job_id])


def _back(request: HttpRequest, job: Job) -> HttpResponse:
    """To the list where the button stood there, else to the job's page."""
    return redirect("admin:jobs_job_changelist") if request.POST.get("back") == "list" else redirect(job)


@require_POST
@permission_required("jobs.cancel_job", raise_exception=True)
def cancel(request: HttpRequest, job_id: UUID) -> HttpResponse:
    job = get_object_or_404(Job, pk=job_id)
    if ledger.cancel(job.pk):
        messages.success(
            request, f"The job “{job}” is cancelled, or will be within seconds if it is running."
        )
    else:
        messages.warning(
            request, "The job has ended already, or is being stopped; there is nothing to cancel."
        )
    return _back(request, job)


@require_POST
@permission_required(registry.RETRY, raise_exception=True)
def retry(request: HttpRequest, job_id: UUID) -> HttpResponse:
    """Queues it again, for those who might start such a job themselves: theirs is the second start."""
    job = get_object_or_404(Job, pk=job_id)
    if not request.user.has_perm(job.retry_permission):
        raise PermissionDenied(
            f"Nothing was started: to retry a job of the kind “{job.label}” takes the same permission as to "
            "start one, and you do not have it. Somebody who does can press Retry."
        )
    if ledger.retry(job.pk):
        messages.success(request, f"The job “{job}” is queued again.")
    else:
        messages.warning(
            request,
            "The job cannot be retried: it is not at an end, or another job for the same thing is under way.",
        )
    return _back(request, job)
