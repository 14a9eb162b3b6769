"""Samples of alerts."""

from __future__ import annotations

from datetime import timedelta

from django.db.models.functions import Now

from arcweb.events.alerts.cards import FIRING, SOURCE
from arcweb.events.models import Alert, Delivery, Silence
from arcweb.samples.registry import Sampler, register_sampler

#: How long a message that was given up is news.
NEWS = timedelta(hours=24)


def take() -> dict[str, float]:
    """ "firing:<alarm>" → its value, for those that are not silenced; failed: messages given up."""
    silent = Silence.objects.active().values("alarm")
    firing = Alert.objects.firing().exclude(alarm__in=silent).values_list("alarm", "value")
    failed = Delivery.objects.filter(state=Delivery.State.FAILED, created_at__gt=Now() - NEWS)
    return {**{f"{FIRING}{name}": value for name, value in firing}, "failed": failed.count()}


register_sampler(Sampler(SOURCE, take))
