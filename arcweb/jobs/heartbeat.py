"""The sign of life of a running job: a thread with its own database connection."""

from __future__ import annotations

import logging
import threading
import time
from types import TracebackType
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import DatabaseError, InterfaceError, connection
from django.db.models.functions import Now

from arcweb.jobs.context import JobContext, Progress
from arcweb.jobs.models import Job
from arcweb.jobs.progress import RateMeter

logger = logging.getLogger(__name__)
TICK = 1.0  # seconds between looks at the row: how late a cancel is noticed and progress is shown
#: Seconds between heartbeats when nothing else is to be written: six fit into the patience of the reconciler.
BEAT = settings.ARC_JOB_LOST_AFTER / 6


class Heartbeat:
    """While the block runs: writes heartbeat and progress, and stops the context on cancel or lost claim."""

    def __init__(self, context: JobContext, claim: UUID) -> None:
        self._context = context
        self._claim = claim
        self._meter = RateMeter()
        self._written: Progress | None = None
        self._beaten = time.monotonic()  # the claim was the first
        self._failing = False
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"heartbeat-{context.id}", daemon=True)

    def __enter__(self) -> Heartbeat:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._ended.set()
        # A tick that hangs on a dead database cannot harm: the claim is gone when it comes back.
        self._thread.join(timeout=5)

    def _run(self) -> None:
        try:
            while not self._ended.wait(TICK):
                try:
                    self._tick()
                    self._failing = False
                except (DatabaseError, InterfaceError) as error:
                    if not self._failing:
                        logger.warning(
                            "The heartbeat of job %s fails and is tried on: %s", self._context.id, error
                        )
                    self._failing = True
                    connection.close()
        finally:
            connection.close()

    def _tick(self) -> None:
        row = Job.objects.filter(pk=self._context.id).values("claim", "cancel_requested_at").first()
        if row is None:
            return  # deleted by hand: the run's last write will find nothing
        if row["claim"] != self._claim:
            self._context.stop(lost=True)
            return
        if row["cancel_requested_at"] is not None:
            self._context.stop(lost=False)
        now, current = time.monotonic(), self._context.snapshot()
        rate = self._meter.sample(now, current.done)
        if current == self._written and now - self._beaten < BEAT:
            return
        values: dict[str, Any] = {"heartbeat_at": Now(), "rate": rate, **current._asdict()}
        if current != self._written:
            values["progressed_at"] = Now()
        if Job.objects.claimed(self._context.id, self._claim).update(**values):
            self._written, self._beaten = current, now
        else:
            self._context.stop(lost=True)
