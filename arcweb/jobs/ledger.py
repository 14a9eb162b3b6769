"""The ledger's verbs. Each is a conditional UPDATE whose row count says whether it happened."""

from __future__ import annotations

import logging
from datetime import timedelta
from functools import partial
from typing import Any, NamedTuple
from uuid import UUID

from django.db import IntegrityError, transaction
from django.db.models import F
from django.db.models.functions import Now

from arcweb.events import Actor, current_actor, record
from arcweb.events.sentences import describe
from arcweb.jobs import dispatch, registry
from arcweb.jobs.models import Job
from arcweb.jobs.runner import run

__all__ = ["Reconciled", "cancel", "enqueue", "first_time", "forget_old", "reconcile", "retry", "run"]

logger = logging.getLogger(__name__)
#: Messages sent in one reconciliation; the rest follow 10 s later.
SEND_AT_ONCE = 500
#: How long an ended job stays in the ledger, and rows in one DELETE of older ones.
KEEP_ENDED = timedelta(days=30)
DELETE_AT_ONCE = 1000

UNIQUE_KEY = "job_unique_key_while_active"  # the constraint
WORKER_DIED = "Its worker stopped without a word (killed, or its machine went down)."

describe("job.cancelled", "cancelled the job {object}")
describe("job.cancel_requested", "asked the running job {object} to stop")
describe("job.retried", "started the job {object} again")


class Reconciled(NamedTuple):
    requeued: int
    interrupted: int
    cancelled: int
    sent: int


def enqueue(
    kind: str,
    *,
    target: str,
    params: dict[str, Any],
    title: str = "",
    target_url: str = "",
    total: int | None = None,
    unique_key: str = "",
    actor: Actor | None = None,
) -> Job:
    """Add a job to the caller's transaction and send its message once that is committed.

    While a job with the same `unique_key` is queued or running, that job is returned instead of a new
    one. `params` is a JSON object (ids, not contents); `total` the units of work, None: unknown.
    Raises ValueError for a kind that has no handler.
    """
    found = registry.find(kind)
    if found is None:
        raise ValueError(f"No job_handlers.py declares a handler for jobs of kind {kind!r}.")
    who = actor or current_actor()
    job = Job(
        kind=kind,
        title=title,
        target=target,
        target_url=target_url,
        params=params,
        total=total,
        unit=found.unit,
        max_attempts=found.max_attempts,
        unique_key=unique_key,
        actor_kind=who.kind,
        actor_id=who.id,
        actor_name=who.name,
    )
    while True:
        try:
            with transaction.atomic():
                job.save(force_insert=True)
        except IntegrityError as error:
            if not _names(error, UNIQUE_KEY):
                raise
            if other := Job.objects.active().filter(unique_key=unique_key).first():
                return other
            # It ended between our INSERT and our look: now the key is free.
        else:
            break
    transaction.on_commit(partial(dispatch.send, job.pk))
    return job


def cancel(job_id: UUID) -> bool:
    """Stop the job: queued, at once; running, its handler is told within about a second.

    False when it has ended, or was asked to stop before. What its kind's `on_cancel` raises passes
    through, and then the job is not cancelled.
    """
    jobs = Job.objects.filter(pk=job_id)
    with transaction.atomic():
        if jobs.filter(state=Job.State.QUEUED).update(
            state=Job.State.CANCELLED, cancel_requested_at=Now(), finished_at=Now(), next_retry_at=None
        ):
            job = jobs.get()
            registry.cancelled(job.kind, job.params)
            record("job.cancelled", obj=job)
            return True
        if jobs.filter(state=Job.State.RUNNING, cancel_requested_at=None).update(cancel_requested_at=Now()):
            record("job.cancel_requested", obj=jobs.get())
            return True
    return False


def retry(job_id: UUID) -> bool:
    """Queue a job that failed, was cancelled or interrupted, with all its attempts before it again.

    False when it is in another state, or another active job has its unique_key.
    """
    jobs = Job.objects.filter(pk=job_id)
    ended = jobs.filter(state__in=[Job.State.FAILED, Job.State.CANCELLED, Job.State.INTERRUPTED])
    try:
        with transaction.atomic():
            if not ended.update(
                state=Job.State.QUEUED,
                attempts=0,
                cancel_requested_at=None,
                next_retry_at=None,
                finished_at=None,
                started_at=None,
                queued_at=Now(),
                sent_at=None,
                done=0,
                rate=None,
                message="",
            ):
                return False
            record("job.retried", obj=jobs.get())
            transaction.on_commit(partial(dispatch.send, job_id))
    except IntegrityError as error:
        if not _names(error, UNIQUE_KEY):
            raise
        return False
    return True


def first_time(job_id: UUID) -> bool:
    """True once in the life of a job: for handlers whose work was confirmed for one run.

    What says so stays in the row while the job is given to another worker, fails, is cancelled and retried.
    """
    return bool(Job.objects.filter(pk=job_id, result__isnull=True).update(result={"_begun": True}))


def reconcile() -> Reconciled:
    """Mend what died: jobs whose worker is gone, messages that the broker lost. Safe to run twice at once."""
    gone = Job.objects.stale()
    released: dict[str, Any] = {"claim": None, "rate": None, "message": ""}
    unwanted = gone.filter(cancel_requested_at__isnull=False)
    cancelled = sum(_end_cancelled(job, released) for job in list(unwanted))
    requeued = gone.filter(cancel_requested_at=None, attempts__lt=F("max_attempts")).update(
        state=Job.State.QUEUED,
        queued_at=Now(),
        sent_at=None,
        last_error=f"{WORKER_DIED} It was queued again.",
        **released,
    )
    interrupted = gone.filter(cancel_requested_at=None, attempts__gte=F("max_attempts")).update(
        state=Job.State.INTERRUPTED,
        finished_at=Now(),
        last_error=f"{WORKER_DIED} All its attempts are used up; look at the workers' log, then retry.",
        **released,
    )
    waiting = Job.objects.unsent().order_by("queued_at").values_list("pk", flat=True)[:SEND_AT_ONCE]
    sent = sum(map(dispatch.send, list(waiting)))
    if cancelled or requeued or interrupted:
        logger.warning(
            "Workers died: %d jobs queued again, %d interrupted, %d cancelled.",
            requeued,
            interrupted,
            cancelled,
        )
    return Reconciled(requeued, interrupted, cancelled, sent)


def _end_cancelled(job: Job, released: dict[str, Any]) -> bool:
    """Whether the job, stale and asked to stop, was ended here; one that cannot be keeps no other waiting."""
    stale = Job.objects.stale().filter(pk=job.pk, claim=job.claim)
    try:
        with transaction.atomic():
            if not stale.update(state=Job.State.CANCELLED, finished_at=Now(), **released):
                return False
            registry.cancelled(job.kind, job.params)
    except Exception:
        logger.exception("Job %s (%s) could not be ended as cancelled; it is tried again.", job.pk, job.kind)
        return False
    return True


def forget_old() -> int:
    """Delete jobs that ended longer than KEEP_ENDED ago; returns how many. Not for use in a transaction:
    each DELETE_AT_ONCE rows are one of their own."""
    old = Job.objects.ended_before(KEEP_ENDED)
    forgotten = 0
    while ids := list(old.values_list("pk", flat=True)[:DELETE_AT_ONCE]):
        # Asked again in the DELETE: a person may have retried one meanwhile, and then it is no longer old.
        forgotten += old.filter(pk__in=ids).delete()[0]
    return forgotten


def _names(error: IntegrityError, constraint: str) -> bool:
    diagnosis = getattr(error.__cause__, "diag", None)
    return diagnosis is not None and diagnosis.constraint_name == constraint
