"""Named queries over alerts."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Self

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

if TYPE_CHECKING:
    from arcweb.events.alerts.models import Alert, Delivery, Silence  # noqa: F401 - in quotes

#: How long what has ended is kept.
KEEP = timedelta(days=400)


class AlertQuerySet(models.QuerySet["Alert"]):
    def firing(self) -> Self:
        return self.filter(state="firing")

    def forget_old(self) -> int:
        """Delete what ended longer than KEEP ago, with its deliveries, and old tests; returns how many."""
        from arcweb.events.alerts.models import Delivery

        Delivery.objects.filter(alert=None, created_at__lt=Now() - KEEP).delete()
        counts = self.filter(state="ended", ended_at__lt=Now() - KEEP).delete()[1]
        return counts.get("events.Alert", 0)


class SilenceQuerySet(models.QuerySet["Silence"]):
    def active(self) -> Self:
        return self.filter(until__gt=Now(), lifted_at=None)

    def by_alarm(self) -> dict[str, Silence]:
        """The active silence of each alarm, the longest where there are several."""
        return {silence.alarm: silence for silence in self.active().order_by("until")}


class DeliveryQuerySet(models.QuerySet["Delivery"]):
    def due(self) -> Self:
        """Those to be sent now. The all-clear waits until its alert's own message is sent or given up."""
        first = self.model.objects.filter(
            alert=models.OuterRef("alert"), channel=models.OuterRef("channel"), kind="firing", state="waiting"
        )
        return (
            self.filter(state="waiting", next_try_at__lte=Now())
            .filter(Q(claimed_until=None) | Q(claimed_until__lt=Now()))
            .exclude(models.Exists(first), kind="ended")
        )
