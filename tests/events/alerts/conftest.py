"""An alarm of the test's own, which shows what the test says."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from arcweb import alarms
from arcweb.alarms import Alarm, Reading
from arcweb.events.alerts import evaluation
from arcweb.events.alerts.evaluation import Round
from arcweb.events.alerts.rules import SLOT
from cache_admin.structures import quick

#: A full half minute, in the past: rows that say "now" of the database come later.
START = datetime(2026, 3, 4, 5, 6, tzinfo=UTC)


@dataclass
class Gauge:
    """What the alarm "test.gauge" finds: a number, None (unknown), or an exception that it raises."""

    shows: float | Exception | None = 0.0
    slot: int = 0
    looks: int = 0
    more: dict[str, Alarm] = field(default_factory=dict)

    def look(self) -> Reading | None:
        self.looks += 1
        if isinstance(self.shows, Exception):
            raise self.shows
        return None if self.shows is None else Reading(self.shows, f"The gauge stands at {self.shows:g}.")

    @property
    def now(self) -> datetime:
        return START + timedelta(seconds=self.slot * SLOT)

    def show(self, *values: float | Exception | None) -> list[Round]:
        """One round for each of these values, half a minute apart."""
        rounds = []
        for value in values:
            self.shows = value
            self.slot += 1
            rounds.append(evaluation.evaluate(now=self.now))
        return rounds


@pytest.fixture(autouse=True)
def no_hurry(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """No look is stopped, and no server given up, because the machine is busy or by an earlier test."""
    settings.ARC_REDIS_TIMEOUT = 10.0
    monkeypatch.setattr(evaluation, "LOOK_SECONDS", 30.0)
    monkeypatch.setattr(quick._Health, "paused_until", 0.0)


@pytest.fixture
def gauge(monkeypatch: pytest.MonkeyPatch) -> Gauge:
    """The only alarm: fires at 90 % and above for a minute."""
    found = Gauge()
    monkeypatch.setattr(alarms, "_alarms", {})
    alarms.register_alarm(
        Alarm("test.gauge", "Gauge high", "Safety", found.look, "%", 90, "The test says so.", lasting=60)
    )
    return found


def change(**fields: Any) -> None:
    """Another "test.gauge"."""
    old = alarms._alarms.pop("test.gauge")
    alarms.register_alarm(replace(old, **fields))
