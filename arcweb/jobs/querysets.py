"""Named queries over the ledger. All times are the database's, so that hosts' clocks do not matter."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Self

from django.conf import settings
from django.db import models
from django.db.models import F, Q, Value
from django.db.models.functions import Greatest, Least, Now

if TYPE_CHECKING:
    from uuid import UUID

    from django.contrib.auth.models import AnonymousUser, User

    from arcweb.jobs.models import Job  # noqa: F401 - named in a string

#: A running job whose heartbeat is older has lost its worker.
STALE_AFTER = timedelta(seconds=settings.ARC_JOB_LOST_AFTER)
#: A message is sent again after this long, then after ever longer waits: while the workers are merely
#: busy, every queued job would otherwise pile up two messages a minute.
RESEND_AFTER = timedelta(seconds=30)
RESEND_AT_LEAST_EVERY = timedelta(minutes=5)


class JobQuerySet(models.QuerySet["Job"]):
    def active(self) -> Self:
        return self.filter(state__in=["queued", "running"])

    def claimed(self, job_id: UUID, claim: UUID | None) -> Self:
        """The job if that claim still holds; every write of a runner goes through here."""
        return self.filter(pk=job_id, state="running", claim=claim)

    def ready(self) -> Self:
        """Queued jobs whose time has come."""
        return self.filter(Q(next_retry_at=None) | Q(next_retry_at__lte=Now()), state="queued")

    def unsent(self) -> Self:
        """Ready jobs whose message was never sent, or so long ago that it may be lost."""
        waited: Any = models.ExpressionWrapper(F("sent_at") - F("queued_at"), models.DurationField())
        patience = Least(Greatest(Value(RESEND_AFTER), waited), Value(RESEND_AT_LEAST_EVERY))
        due: Any = models.ExpressionWrapper(Now() - patience, models.DateTimeField())
        return self.ready().filter(Q(sent_at=None) | Q(sent_at__lt=due))

    def stale(self) -> Self:
        """Running jobs whose worker gave no sign of life for STALE_AFTER."""
        oldest: Any = models.ExpressionWrapper(Now() - Value(STALE_AFTER), models.DateTimeField())
        return self.filter(state="running", heartbeat_at__lt=oldest)

    def ended(self) -> Self:
        return self.filter(finished_at__isnull=False)

    def ended_before(self, age: timedelta) -> Self:
        """Jobs that ended longer than `age` ago."""
        latest: Any = models.ExpressionWrapper(Now() - Value(age), models.DateTimeField())
        # A job ends after it was made: the second condition lets the index job_by_state serve.
        ends = ["succeeded", "failed", "cancelled", "interrupted"]
        return self.filter(state__in=ends, finished_at__lt=latest, created_at__lt=latest)

    def asked_before(self, age: timedelta) -> Self:
        """Jobs that were asked for longer than `age` ago, whatever became of them."""
        latest: Any = models.ExpressionWrapper(Now() - Value(age), models.DateTimeField())
        return self.filter(created_at__lt=latest)

    def last_ends(self, kind: str, most: int) -> list[tuple[str, timedelta]]:
        """State and age of the jobs of that kind that ended last, at most so many, newest first."""
        age: Any = models.ExpressionWrapper(Now() - F("finished_at"), models.DurationField())
        ends = self.filter(kind=kind).ended().order_by("-finished_at")
        return list(ends.values_list("state", age)[:most])

    def visible_to(self, user: User | AnonymousUser) -> Self:
        """The jobs a person may see: with the permission jobs.view_job all, else those they started."""
        if not user.is_active:
            return self.none()
        if user.has_perm("jobs.view_job"):
            return self.all()
        return self.filter(actor_kind="user", actor_id=str(user.pk))

    def named(self, text: str) -> Q:
        """The condition that a job's title or target holds that text, in any case; no index serves it."""
        return Q(title__icontains=text) | Q(target__icontains=text)

    def light(self) -> Self:
        """Without the documents that a list never shows."""
        return self.defer("params", "result")
