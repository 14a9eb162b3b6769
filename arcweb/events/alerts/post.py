"""How the channels do, for the pages: what was sent, and what was not and why."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from django.db.models import Case, Q, When
from django.db.models.functions import Now

from arcweb.events.alerts.channels import Channel, channels
from arcweb.events.alerts.models import Delivery
from arcweb.events.alerts.sending import MOST_TRIES
from arcweb.panels import State

#: How far back the last message of a channel is looked for.
LATELY = timedelta(days=30)
MOST_SHOWN = 10


@dataclass(frozen=True)
class Line:
    """A channel with its last message."""

    channel: Channel
    last: Delivery | None

    @property
    def state(self) -> State:
        if self.last is None:
            return "unknown"
        return state_of(self.last)

    @property
    def word(self) -> str:
        return "Never tried" if self.last is None else word_of(self.last)

    @property
    def trouble(self) -> str:
        return self.last.last_error if self.last else ""


def lines() -> list[Line]:
    """Every channel: one query. One that fails is shown by what failed, not by what waits behind it."""
    failing = Q(state=Delivery.State.WAITING) & ~Q(last_error="")
    last = {
        delivery.channel: delivery
        for delivery in Delivery.objects.filter(created_at__gt=Now() - LATELY)
        .alias(well=Case(When(failing, then=0), default=1))
        .order_by("channel", "well", "-created_at", "-next_try_at")
        .distinct("channel")
    }
    return [Line(channel, last.get(channel.name)) for channel in channels()]


@dataclass(frozen=True)
class Sent:
    """One message in words."""

    delivery: Delivery
    to: str

    @property
    def state(self) -> State:
        return state_of(self.delivery)

    @property
    def word(self) -> str:
        return word_of(self.delivery)

    @property
    def what(self) -> str:
        return {"firing": "it fires", "ended": "the all-clear"}.get(self.delivery.kind, "test")


def of_alarm(name: str) -> list[Sent]:
    """The last messages about one alarm, newest first."""
    titles = {channel.name: channel.title for channel in channels()}
    rows = Delivery.objects.filter(alert__alarm=name).order_by("-created_at", "kind")[:MOST_SHOWN]
    return [Sent(row, titles.get(row.channel, "a channel that is set no more")) for row in rows]


def state_of(delivery: Delivery) -> State:
    if delivery.state == Delivery.State.SENT:
        return "good"
    if delivery.state == Delivery.State.FAILED:
        return "bad"
    return "warn" if delivery.last_error else "idle"


def word_of(delivery: Delivery) -> str:
    if delivery.state == Delivery.State.SENT:
        return "Sent"
    if delivery.state == Delivery.State.FAILED:
        tries = delivery.attempts
        return f"Given up after {tries} {'try' if tries == 1 else 'tries'}"
    if delivery.last_error:
        return f"Try {delivery.attempts} of {MOST_TRIES} failed"
    return "On its way"
