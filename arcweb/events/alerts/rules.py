"""When an alarm fires and when it is over. Pure: imports no Django.

Both need `lasting` seconds without a gap: a value that was not known, or not looked at, begins the time
anew. What fires goes on firing meanwhile.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from arcweb.alarms import Alarm

#: Seconds between two looks at an alarm, and after which one that was not looked at is unknown.
SLOT = 30
STALE = 3 * SLOT
#: Bounds of what an operator may choose for `lasting`, in seconds.
SHORTEST, LONGEST = 0, 86_400
#: Of a value of 1.
SINGULAR = {"memories": "memory", "indexes": "index"} | {
    f"{one}s": one for one in ("job", "task", "row", "table", "line", "setting", "replica", "month")
}
#: Smaller figures say no more than that.
LEAST = 0.01
#: The unit of what is 1 or 0.
ON_OFF = "on or off"


@dataclass(frozen=True)
class Rule:
    """An alarm with what an operator changed about it. by_default: nothing."""

    alarm: Alarm
    threshold: float
    lasting: int
    off: bool = False
    by_default: bool = True

    @property
    def says(self) -> str:
        """ "at or above 90 % for 1 min"."""
        return f"{self.limit} {self.held}".rstrip()

    @property
    def limit(self) -> str:
        """ "at or above 90 %"."""
        if self.alarm.unit == ON_OFF and self.threshold in (0, 1):
            return f"while {measure(self.threshold, ON_OFF)}"
        return f"{self.alarm.fires} {measure(self.threshold, self.alarm.unit)}"

    @property
    def held(self) -> str:
        """ "for 1 min"; "" where it fires at once."""
        return f"for {span(self.lasting)}" if self.lasting else ""

    def beyond(self, value: float) -> bool:
        return self.alarm.beyond(value, self.threshold)


@dataclass(frozen=True)
class Clocks:
    """Since when a value was found beyond the threshold, or within it, without a gap."""

    beyond_since: datetime | None = None
    within_since: datetime | None = None
    looked_at: datetime | None = None


@dataclass(frozen=True)
class Step:
    clocks: Clocks
    act: Literal["fire", "end", ""] = ""


def step(rule: Rule, value: float | None, before: Clocks, now: datetime) -> Step:
    """What one look brings. value: None is unknown. `act` says what the rule asks for: to be fired, or to
    be over; whether it fires already is for the caller to know."""
    if value is None:
        return Step(Clocks(looked_at=now))
    gap = before.looked_at is None or now - before.looked_at > timedelta(seconds=STALE)
    held = timedelta(seconds=rule.lasting)
    if rule.beyond(value):
        since = now if gap or before.beyond_since is None else before.beyond_since
        return Step(Clocks(beyond_since=since, looked_at=now), "fire" if now - since >= held else "")
    since = now if gap or before.within_since is None else before.within_since
    return Step(Clocks(within_since=since, looked_at=now), "end" if now - since >= held else "")


def worse(alarm: Alarm, one: float, other: float) -> float:
    """The one of two values that is further beyond."""
    return max(one, other) if alarm.fires == "at or above" else min(one, other)


def measure(value: float, unit: str) -> str:
    """ "92.5 %", "1,200 rows", "3 h": a value as a person reads it."""
    if unit == "s" and abs(value) >= 120:
        return span(value)
    if unit == ON_OFF and value in (0, 1):
        return "on" if value else "off"
    if 0 < value < LEAST:
        return f"below {LEAST} {unit}".rstrip()
    number = f"{value:,.0f}" if float(value).is_integer() or abs(value) >= 1000 else f"{value:,.3g}"
    return f"{number} {SINGULAR.get(unit, unit) if value == 1 else unit}".rstrip()


def span(seconds: float) -> str:
    """ "45 s", "5 min", "1 h 30 min", "2 days"."""
    whole = round(seconds)
    for unit, name, lower, lower_name in ((86_400, "day", 3600, "h"), (3600, "h", 60, "min")):
        if whole >= unit:
            many, rest = divmod(whole, unit)
            plural = "s" if name == "day" and many > 1 else ""
            return f"{many} {name}{plural}" + (f" {rest // lower} {lower_name}" if rest >= lower else "")
    if whole >= 60:
        many, rest = divmod(whole, 60)
        return f"{many} min" + (f" {rest} s" if rest else "")
    return f"{whole} s"
