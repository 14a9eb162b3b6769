"""What people do to jobs."""

from __future__ import annotations

from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import permission_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.views.decorators.http import require_POST

from arcweb.jobs import ledger
from arcweb.jobs.models import Job


@require_POST
@permission_required("jobs.cancel_job", raise_exception=True)
def cancel(request: HttpRequest, job_id: UUID) -> HttpResponse:
    job = get_object_or_404(Job, pk=job_id)
    if ledger.cancel(job.pk):
        messages.success(request, "The job is cancelled, or will be within seconds if it is running.")
    else:
        messages.warning(
            request, "The job has ended already, or is being stopped; there is nothing to cancel."
        )
    return redirect(job)


@require_POST
@permission_required("jobs.retry_job", raise_exception=True)
def retry(request: HttpRequest, job_id: UUID) -> HttpResponse:
    job = get_object_or_404(Job, pk=job_id)
    if ledger.retry(job.pk):
        messages.success(request, "The job is queued again.")
    else:
        messages.warning(
            request,
            "The job cannot be retried: it is not at an end, or another job for the same thing is under way.",
        )
    return redirect(job)
