"""The ledger's one table."""

from __future__ import annotations

import uuid
from datetime import datetime

from django.contrib.postgres.functions import RandomUUID
from django.core.serializers.json import DjangoJSONEncoder
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from django.urls import reverse
from django.utils import timezone

from arcweb import charts
from arcweb.jobs import progress, registry
from arcweb.jobs.querysets import STALE_AFTER, JobQuerySet

#: Seconds without progress after which a page says so.
STANDING_STILL = 10


class Job(models.Model):
    """One piece of long work and everything known about it. Changed through `arcweb.jobs.ledger` only."""

    class State(models.TextChoices):
        QUEUED = "queued"
        RUNNING = "running"
        SUCCEEDED = "succeeded"
        FAILED = "failed"
        CANCELLED = "cancelled"
        INTERRUPTED = "interrupted"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, db_default=RandomUUID(), editable=False)
    kind = models.TextField()
    title = models.TextField(blank=True, db_default="")
    target = models.TextField(blank=True, db_default="")
    target_url = models.TextField(blank=True, db_default="")
    params = models.JSONField(default=dict, db_default={}, encoder=DjangoJSONEncoder)
    actor_kind = models.TextField(db_default="system")
    actor_id = models.TextField(blank=True, db_default="")
    actor_name = models.TextField(blank=True, db_default="")

    state = models.TextField(choices=State, db_default=State.QUEUED)
    done = models.BigIntegerField(db_default=0)
    total = models.BigIntegerField(null=True, blank=True)  # null: unknown
    unit = models.TextField(blank=True, db_default="")
    rate = models.FloatField(null=True, blank=True)  # units a second; null: unknown
    message = models.TextField(blank=True, db_default="")  # what it is doing or waiting for
    progressed_at = models.DateTimeField(null=True, blank=True)
    result = models.JSONField(null=True, blank=True, encoder=DjangoJSONEncoder)
    last_error = models.TextField(blank=True, db_default="")

    attempts = models.IntegerField(db_default=0)
    max_attempts = models.IntegerField(db_default=3)
    claim = models.UUIDField(null=True, blank=True)  # fencing token of the run that may write
    heartbeat_at = models.DateTimeField(null=True, blank=True)
    cancel_requested_at = models.DateTimeField(null=True, blank=True)
    next_retry_at = models.DateTimeField(null=True, blank=True)
    queued_at = models.DateTimeField(db_default=Now())
    sent_at = models.DateTimeField(null=True, blank=True)  # last handed to the broker
    unique_key = models.TextField(blank=True, db_default="")

    created_at = models.DateTimeField(db_default=Now())
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    objects = JobQuerySet.as_manager()

    class Meta:
        default_permissions = ("view",)
        permissions = [("cancel_job", "Can cancel job"), ("retry_job", "Can retry job")]
        constraints = [
            models.CheckConstraint(
                name="job_state_known",
                condition=Q(
                    state__in=["queued", "running", "succeeded", "failed", "cancelled", "interrupted"],
                ),
            ),
            models.CheckConstraint(
                name="job_actor_kind_known", condition=Q(actor_kind__in=["user", "system", "service"])
            ),
            models.CheckConstraint(name="job_kind_named", condition=~Q(kind="")),
            models.CheckConstraint(
                name="job_progress_possible", condition=Q(done__gte=0) & (Q(total=None) | Q(total__gte=0))
            ),
            models.CheckConstraint(
                name="job_attempts_possible", condition=Q(attempts__gte=0, max_attempts__gte=1)
            ),
            models.CheckConstraint(
                name="job_claimed_while_running",
                condition=Q(state="running", claim__isnull=False, heartbeat_at__isnull=False)
                | (~Q(state="running") & Q(claim=None)),
            ),
            models.CheckConstraint(
                name="job_finished_when_ended",
                condition=Q(state__in=["queued", "running"], finished_at=None)
                | (~Q(state__in=["queued", "running"]) & Q(finished_at__isnull=False)),
            ),
            models.UniqueConstraint(
                name="job_unique_key_while_active",
                fields=["unique_key"],
                condition=Q(state__in=["queued", "running"]) & ~Q(unique_key=""),
            ),
        ]
        indexes = [
            models.Index(name="job_queued", fields=["queued_at"], condition=Q(state="queued")),
            # Not on heartbeat_at: an indexed column that moves every few seconds would cost HOT updates.
            models.Index(name="job_running", fields=["id"], condition=Q(state="running")),
            models.Index("created_at", "id", name="job_newest"),
            models.Index("state", "created_at", name="job_by_state"),
            models.Index("kind", "created_at", name="job_by_kind"),
            models.Index("unique_key", "created_at", name="job_by_unique_key", condition=~Q(unique_key="")),
            models.Index("kind", "finished_at", name="job_last_ends", condition=Q(finished_at__isnull=False)),
        ]

    def __str__(self) -> str:
        return self.title or f"{registry.label(self.kind)} {self.target}".rstrip()

    def get_absolute_url(self) -> str:
        return reverse("admin:jobs_job_change", args=[self.pk])

    @property
    def label(self) -> str:
        return registry.label(self.kind)

    @property
    def shape(self) -> str:
        """How pages draw its state, beside the word: good, warn, bad or idle."""
        shapes = {"running": "good", "succeeded": "good", "failed": "bad", "interrupted": "bad"}
        return shapes.get(self.state, "idle")

    @property
    def is_active(self) -> bool:
        return self.state in (self.State.QUEUED, self.State.RUNNING)

    @property
    def can_cancel(self) -> bool:
        return self.is_active and self.cancel_requested_at is None

    @property
    def can_retry(self) -> bool:
        return self.state in (self.State.FAILED, self.State.CANCELLED, self.State.INTERRUPTED)

    @property
    def retry_permission(self) -> str:
        """What a person needs, besides "jobs.retry_job", to retry it: that of the page which starts it."""
        return registry.retry_permission(self.kind)

    @property
    def percent(self) -> int | None:
        return progress.percent(self.done, self.total)

    @property
    def counted(self) -> str:
        """The unit behind "1 of 1" or "3": "chunk", "chunks"."""
        return charts.counted(self.done if self.total is None else self.total, self.unit)

    @property
    def remaining(self) -> str:
        """Time left at the rate of the last seconds, for people."""
        return progress.duration(progress.remaining_seconds(self.done, self.total, self.rate))

    @property
    def elapsed(self) -> str:
        """How long the last attempt ran or runs."""
        if self.started_at is None:
            return "not started"
        return progress.duration(((self.finished_at or timezone.now()) - self.started_at).total_seconds())

    @property
    def standing(self) -> str:
        """Why the progress is where it is: a sentence for everything but steady work and the end."""
        return _standing(self, timezone.now())


def _standing(job: Job, now: datetime) -> str:
    def ago(moment: datetime | None) -> str:
        return progress.duration((now - moment).total_seconds()) if moment else "an unknown time"

    if job.state == Job.State.QUEUED:
        if job.next_retry_at and job.next_retry_at > now:
            wait = progress.duration((job.next_retry_at - now).total_seconds())
            return f"Waits {wait} before attempt {job.attempts + 1} of {job.max_attempts}."
        if job.sent_at is None:
            return "Waits to be handed to the workers; this is tried every 10 s."
        return f"Has waited {ago(job.queued_at)} for a free worker."
    if job.state != Job.State.RUNNING:
        return ""
    silent = (now - job.heartbeat_at).total_seconds() if job.heartbeat_at else 0
    if silent > STALE_AFTER.total_seconds() / 2:
        return (
            f"Its worker gave no sign of life for {progress.duration(silent)}; after "
            f"{progress.duration(STALE_AFTER.total_seconds())} the job is given to another."
        )
    if job.cancel_requested_at:
        return f"Is being stopped, as asked {ago(job.cancel_requested_at)} ago."
    moved = job.progressed_at or job.started_at
    if moved and (now - moved).total_seconds() > STANDING_STILL:
        return f"No progress for {ago(moved)}; its worker is alive."
    return ""
