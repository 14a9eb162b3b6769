"""Which messages are owed to which channel. Each is a row before anything is sent."""

from __future__ import annotations

from collections.abc import Container, Iterable
from typing import Any, Literal

from django.conf import settings
from django.db import transaction
from django.urls import reverse
from django.utils import timezone

from arcweb.events.alerts.channels import Channel, channels
from arcweb.events.alerts.models import Alert, Delivery
from arcweb.events.alerts.rules import measure, span


def owe(alerts: Iterable[Alert], kind: Literal["firing"], *, skip: Container[str] = ()) -> None:
    """One message to each channel for each of these alerts that has none yet, but for alarms in `skip`.

    Asked again it adds nothing: what was silenced is sent when its silence ends, if it still fires.
    """
    to = channels()
    wanted = [alert for alert in alerts if alert.alarm not in skip] if to else []
    if not wanted:
        return
    have = set(Delivery.objects.filter(alert__in=wanted, kind=kind).values_list("alert_id", "channel"))
    owed = [(alert, channel) for alert in wanted for channel in to if (alert.pk, channel.name) not in have]
    if not owed:
        return
    with transaction.atomic():
        # One that another process ends meanwhile would be told without an all-clear.
        keys = {alert.pk for alert, _ in owed}
        firing = set(
            Alert.objects.firing().filter(pk__in=keys).select_for_update().values_list("pk", flat=True)
        )
        Delivery.objects.bulk_create(
            [_delivery(alert, kind, channel) for alert, channel in owed if alert.pk in firing],
            ignore_conflicts=True,
        )


def owe_all_clear(alert: Alert) -> None:
    """The all-clear, to the channels that were told, or are still to be told, that it fires."""
    told = set(Delivery.objects.filter(alert=alert, kind="firing").values_list("channel", flat=True))
    Delivery.objects.bulk_create(
        [_delivery(alert, "ended", channel) for channel in channels() if channel.name in told],
        ignore_conflicts=True,
    )


def owe_test(to: Iterable[Channel], by: str) -> list[Delivery]:
    """A test message to each of these channels."""
    now = timezone.now().isoformat()
    sentence = f"{by} asked for this test message. Nothing is wrong."
    message = {
        "status": "test",
        "title": "Test message of ARC Web",
        "text": f"Test: {sentence}",
        "sentence": sentence,
        "at": now,
        "url": _absolute(reverse("admin:alerts")),
    }
    return Delivery.objects.bulk_create(
        [Delivery(kind="test", channel=channel.name, message=message) for channel in to]
    )


def _delivery(alert: Alert, kind: Literal["firing", "ended"], channel: Channel) -> Delivery:
    return Delivery(alert=alert, kind=kind, channel=channel.name, message=message(alert, kind))


def message(alert: Alert, kind: Literal["firing", "ended"]) -> dict[str, Any]:
    """What a receiver gets, the same at every try; docs/ALERTS.md tells it. The delivery's id is added."""
    reading = measure(alert.value, alert.unit)
    if kind == "firing":
        text = f"{alert.title}: {reading}. {alert.sentence}"
    else:
        lasted = span(((alert.ended_at or timezone.now()) - alert.since).total_seconds())
        why = f", because {alert.ended_by}" if alert.ended_by else ""
        worst = measure(alert.worst, alert.unit)
        text = f"All clear: {alert.title} ended after {lasted}{why}. Worst: {worst}; now: {reading}."
    return {
        "status": kind,
        "alert": alert.pk,
        "alarm": alert.alarm,
        "title": alert.title,
        "room": alert.room,
        "severity": alert.severity,
        "text": text,
        "sentence": alert.sentence,
        "value": alert.value,
        "worst": alert.worst,
        "unit": alert.unit,
        "fires": alert.fires,
        "threshold": alert.threshold,
        "since": alert.since.isoformat(),
        "fired_at": alert.fired_at.isoformat(),
        "ended_at": alert.ended_at.isoformat() if alert.ended_at else None,
        "url": _absolute(reverse("admin:events_alert_change", args=[alert.alarm])),
    }


def _absolute(path: str) -> str:
    """The page's address; its path alone where ARC_PUBLIC_URL is not set."""
    return f"{settings.ARC_PUBLIC_URL.rstrip('/')}{path}"
