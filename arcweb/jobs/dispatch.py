"""Hands queued jobs to the broker. PostgreSQL keeps the job, so a broker that is away loses nothing."""

from __future__ import annotations

import logging
import os
import time
from functools import cache
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db.models.functions import Now
from kombu.exceptions import KombuError, OperationalError
from redis.exceptions import RedisError

from arcweb import servers
from arcweb.celery import app
from arcweb.jobs import registry
from arcweb.jobs.models import Job

logger = logging.getLogger(__name__)
#: After a failure nothing is sent for so many seconds: a request must not wait for a dead broker
#: once for every job it queues.
PAUSE = 10.0
#: Seconds and tries. Celery's own defaults hold the caller for 6 s when the broker is away.
IMPATIENT = {
    "max_retries": 0,
    "socket_timeout": settings.ARC_REDIS_TIMEOUT,
    "socket_connect_timeout": settings.ARC_REDIS_TIMEOUT,
}
_paused_until = 0.0
_away = False


def send(job_id: UUID) -> bool:
    """Send the message of a job that is due and unsent; whether a message went out. Of two callers one sends.

    A broker that is away is logged once and leaves the row queued for the reconciler.
    """
    global _paused_until, _away
    if _broker_is_away():
        return False
    if not Job.objects.unsent().filter(pk=job_id).update(sent_at=Now()):
        return False
    kind = Job.objects.filter(pk=job_id).values_list("kind", flat=True).first() or ""
    try:
        _publish(job_id, registry.queue_of(kind))
    except (OperationalError, KombuError, RedisError, OSError) as error:
        _paused_until = time.monotonic() + PAUSE
        servers.suspect("redis-state")
        Job.objects.filter(pk=job_id, state=Job.State.QUEUED).update(sent_at=None)
        if not _away:
            logger.warning(
                "The broker (REDIS_STATE_URL) takes no messages: %s. Jobs stay queued until it is back.",
                error,
            )
        _away = True
        return False
    if _away:
        logger.info("The broker takes messages again.")
    _away = False
    return True


def _broker_is_away() -> bool:
    """By the web process's prober; elsewhere, and until that knows, a failure counts for PAUSE seconds."""
    if servers.is_away("redis-state"):
        return True
    failed_ago = time.monotonic() - (_paused_until - PAUSE)
    if failed_ago >= PAUSE:
        return False
    state = servers.state_of("redis-state")
    return not (state.up and state.seconds < failed_ago)


def _publish(job_id: UUID, queue: str) -> None:
    from arcweb.jobs.tasks import run_job

    with _connections(os.getpid()).acquire(block=True) as connection:
        run_job.apply_async(args=[str(job_id)], queue=queue, connection=connection, retry=False)


@cache
def _connections(pid: int) -> Any:
    """Open connections of this process; a forked child must not use its parent's, hence the pid."""
    return app.connection_for_write(transport_options=IMPATIENT).Pool(limit=8)
