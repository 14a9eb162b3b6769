"""Alerts that have ended, newest first, in pages by key."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from arcweb.events.alerts.models import Alert
from arcweb.events.alerts.rules import measure, span
from arcweb.keyset import Order

PAGE_SIZE = 20
ORDER = Order(Alert, "fired_at")


@dataclass(frozen=True)
class Past:
    """One alert that has ended, in words."""

    alert: Alert

    @property
    def lasted(self) -> str:
        alert = self.alert
        return span((alert.ended_at - alert.since).total_seconds()) if alert.ended_at else ""

    @property
    def worst(self) -> str:
        return measure(self.alert.worst, self.alert.unit)

    @property
    def limit(self) -> str:
        return f"{self.alert.fires} {measure(self.alert.threshold, self.alert.unit)}"


@dataclass(frozen=True)
class History:
    """A page of it; `newer` and `older` are the values of the query string that turn it, "" at an end."""

    lines: list[Past]
    newer: str
    older: str


def page(query: Mapping[str, str], alarms: Sequence[str]) -> History:
    """The page that a query string asks for, of these alarms: one query."""
    rows = Alert.objects.filter(state=Alert.State.ENDED, alarm__in=alarms)
    after, before = (ORDER.parse(query.get(name, "")) for name in ("older", "newer"))
    found = ORDER.page(rows, PAGE_SIZE, after=after, before=None if after else before)
    return History([Past(row) for row in found.rows], str(found.previous or ""), str(found.next or ""))
