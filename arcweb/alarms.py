"""Alert rules: what every room may contribute to the one mechanism of alerts. Pure: imports no Django.

An app registers an Alarm in its alarms.py. A beat job asks each one (`arcweb.events.alerts`), keeps what
fires, tells it on the overview and in events, and sends it once, with the all-clear.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from arcweb.panels import Server


@dataclass(frozen=True)
class Reading:
    """One measurement: its value in the alarm's unit and the full sentence that an operator reads.

    The sentence names what is wrong and what to do, whether or not it is above the threshold now.
    """

    value: float
    sentence: str


class Unknown(Exception):  # noqa: N818 - it is no fault
    """The value cannot be known now. Its text is the reason, a sentence for the operator."""


@dataclass(frozen=True)
class Alarm:
    """A threshold with a sane default, which an operator may change.

    `look` returns None, or raises Unknown with the reason, when the value is not known: an alarm neither
    fires nor clears on what is unknown. It runs in a read-only transaction with a time limit of about a
    second, in a worker.
    """

    name: str  #: "postgres.connections"
    title: str  #: "Connections near their maximum"
    room: Literal["Agents", "Memories", "Redis", "PostgreSQL", "Safety"]
    look: Callable[[], Reading | None]
    unit: str  #: "%", "s", "MB", "rows"
    threshold: float
    why: str  #: where the default comes from
    fires: Literal["at or above", "at or below"] = "at or above"
    lasting: int = 60  #: seconds that it must hold before it fires, and be over before the all-clear
    severity: Literal["warn", "bad"] = "warn"
    permission: str = ""  #: who sees it
    url_name: str = ""  #: the page with the evidence: "admin:database_activity"
    needs: tuple[Server, ...] = ("postgres",)
    #: The process that can look; "web": only the web process knows, as how the servers stand.
    where: Literal["worker", "web"] = "worker"

    def beyond(self, value: float, threshold: float) -> bool:
        """Whether that value is where it must not be."""
        return value >= threshold if self.fires == "at or above" else value <= threshold


_alarms: dict[str, Alarm] = {}


def register_alarm(alarm: Alarm) -> None:
    """Add an alarm; a name that another has is a programming error (ValueError)."""
    known = _alarms.get(alarm.name)
    if known is not None and known != alarm:
        raise ValueError(f"Two alarms are named {alarm.name!r}.")
    _alarms[alarm.name] = alarm


def alarms() -> list[Alarm]:
    return sorted(_alarms.values(), key=lambda alarm: (alarm.room, alarm.name))


def find_alarm(name: str) -> Alarm | None:
    return _alarms.get(name)
