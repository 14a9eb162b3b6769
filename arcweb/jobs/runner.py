"""Runs one job: claim, handler, end. Every write after the claim carries the claim's token."""

from __future__ import annotations

import json
import logging
import time
import uuid
from datetime import timedelta
from typing import Any, cast
from uuid import UUID

from django.conf import settings
from django.core.serializers.json import DjangoJSONEncoder
from django.db import InterfaceError, OperationalError, connection, transaction
from django.db.models import F, Value
from django.db.models.functions import Now

from arcweb.events import Actor, acting_as
from arcweb.events.actors import ActorKind
from arcweb.jobs import registry
from arcweb.jobs.context import JobContext
from arcweb.jobs.database_trouble import next_try
from arcweb.jobs.exceptions import ClaimLost, JobCancelled, JobFailed, RetryLater
from arcweb.jobs.heartbeat import Heartbeat
from arcweb.jobs.models import Job

logger = logging.getLogger(__name__)
LONGEST_ERROR = 2000  # characters of an error kept on the row
#: Seconds that the end of a run waits for a database that is away; then the reconciler takes the job.
PATIENCE = settings.ARC_JOB_LOST_AFTER
PAUSE = 1.0


def run(job_id: UUID) -> None:
    """Run the job if it is ready and nobody else claims it first; else do nothing.

    Must not be called inside a transaction: others would not see the claim. Errors of the handler end
    on the row; those of the database itself put the job off. Only errors of the ledger's own writes are
    raised, after they were tried for PATIENCE seconds, and then the reconciler finds the job.
    """
    job = _claim(job_id)
    if job is None or job.claim is None:
        return
    found = registry.find(job.kind)
    if found is None:
        _end(
            job,
            Job.State.FAILED,
            last_error=f"This worker has no handler for jobs of kind {job.kind!r}. Run the same version of "
            "ARC Web in the web process and the workers, then retry.",
        )
        return
    context = JobContext(job.pk, job.params, total=job.total, attempt=job.attempts)
    try:
        with (
            acting_as(Actor(cast("ActorKind", job.actor_kind), job.actor_id, job.actor_name)),
            Heartbeat(context, job.claim),
        ):
            result = found.run(context)
        json.dumps(result, cls=DjangoJSONEncoder, allow_nan=False)
    except ClaimLost:
        logger.warning("Job %s went on elsewhere; this run of it stopped.", job.pk)
    except JobCancelled:
        _end(job, Job.State.CANCELLED, context)
    except JobFailed as error:
        _end(job, Job.State.FAILED, context, last_error=str(error))
    except RetryLater as error:
        _put_off(job, context, error)
    except (OperationalError, InterfaceError) as error:
        logger.warning("Job %s (%s) is put off: %s", job.pk, job.kind, error)
        _put_off(job, context, next_try(error, doing=context.snapshot().message, attempt=job.attempts))
    except Exception as error:
        logger.exception("Job %s (%s) failed", job.pk, job.kind)
        _end(job, Job.State.FAILED, context, last_error=f"{type(error).__name__}: {error}")
    except BaseException:
        # The process is told to stop (Ctrl-C, a worker's shutdown): no fault of the job, no attempt lost.
        _give_back(job)
        raise
    else:
        _end(job, Job.State.SUCCEEDED, context, result=result, last_error="")


def _claim(job_id: UUID) -> Job | None:
    token = uuid.uuid4()
    with transaction.atomic(durable=True):
        won = (
            Job.objects.ready()
            .filter(pk=job_id)
            .update(
                state=Job.State.RUNNING,
                claim=token,
                attempts=F("attempts") + 1,
                heartbeat_at=Now(),
                started_at=Now(),
                progressed_at=Now(),
                next_retry_at=None,
                done=0,
                rate=None,
                message="",
            )
        )
        return Job.objects.get(pk=job_id, claim=token) if won else None


def _end(job: Job, state: Job.State, context: JobContext | None = None, **values: Any) -> None:
    if context is not None:
        done, total, _ = context.snapshot()
        values |= {"done": done, "total": total}
    if "last_error" in values:
        values["last_error"] = _fit(values["last_error"])
    if not _write(job, state, finished_at=Now(), **values):
        logger.warning("Job %s ended here as %s, but it was given to another worker before.", job.pk, state)


def _put_off(job: Job, context: JobContext, error: RetryLater) -> None:
    if job.attempts >= job.max_attempts:
        sentence = f"{error} Given up after {job.attempts} attempts."
        _end(job, Job.State.FAILED, context, last_error=sentence)
        return
    if not _write(
        job,
        Job.State.QUEUED,
        unless_cancelled=True,
        queued_at=Now(),
        sent_at=None,
        next_retry_at=Now() + Value(timedelta(seconds=error.seconds)),
        last_error=_fit(str(error)),
        rate=None,
    ):
        _end(job, Job.State.CANCELLED, context)


def _fit(sentence: str) -> str:
    return sentence.replace("\x00", "\ufffd")[:LONGEST_ERROR]


def _write(job: Job, state: Job.State, *, unless_cancelled: bool = False, **values: Any) -> bool:
    """Write the end of this run, if its claim still holds; a database that is away is waited for."""
    mine = Job.objects.claimed(job.pk, job.claim)
    if unless_cancelled:
        mine = mine.filter(cancel_requested_at=None)
    give_up_at = time.monotonic() + PATIENCE
    while True:
        connection.close_if_unusable_or_obsolete()
        try:
            with transaction.atomic():
                written = mine.update(state=state, claim=None, message="", **values)
                if written and state == Job.State.CANCELLED:
                    registry.cancelled(job.kind, job.params)
                return bool(written)
        except (OperationalError, InterfaceError) as error:
            if time.monotonic() > give_up_at:
                raise
            logger.warning("The end of job %s is not written yet, and tried again: %s", job.pk, error)
            time.sleep(PAUSE)


def _give_back(job: Job) -> None:
    try:
        connection.close_if_unusable_or_obsolete()
        Job.objects.claimed(job.pk, job.claim).update(
            state=Job.State.QUEUED,
            claim=None,
            attempts=F("attempts") - 1,
            queued_at=Now(),
            sent_at=None,
            rate=None,
            message="",
        )
    except Exception:
        logger.exception("Job %s could not be given back; the reconciler will find it.", job.pk)
