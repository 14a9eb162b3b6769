"""How every rule stands now, for the pages: four queries, however many rules and alerts there are."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby

from django.urls import NoReverseMatch, reverse
from django.utils import timezone

from arcweb.alarms import Alarm
from arcweb.events.alerts.evaluation import rules
from arcweb.events.alerts.models import Alert, AlertStanding, Silence
from arcweb.events.alerts.rules import STALE, Rule, measure, span
from arcweb.panels import SEVERITY, State
from arcweb.registry import GROUPS


@dataclass(frozen=True)
class Line:
    """One rule: what it asks for, what was found last, and whether it fires or is silent."""

    rule: Rule
    standing: AlertStanding | None
    alert: Alert | None
    silence: Silence | None
    now: datetime

    @property
    def alarm(self) -> Alarm:
        return self.rule.alarm

    @property
    def known(self) -> bool:
        return self.value is not None

    @property
    def value(self) -> float | None:
        """What was measured lately; None: unknown."""
        return None if self.standing is None or self._stale else self.standing.value

    @property
    def _stale(self) -> bool:
        looked = self.standing.looked_at if self.standing else None
        return looked is None or self.now - looked > timedelta(seconds=STALE)

    @property
    def trouble(self) -> str:
        """Why its value is unknown; "" when it is known, or nobody asks."""
        if self.known or self.rule.off:
            return ""
        if self.standing is None or self.standing.looked_at is None:
            return "Nobody has looked at it yet: rules are looked at every half minute."
        if self._stale:
            ago = span((self.now - self.standing.looked_at).total_seconds())
            who = "web process" if self.alarm.where == "web" else "worker, or Celery beat,"
            return f"Nobody has looked at it for {ago}: the {who} that does stands still."
        return self.standing.trouble or "It is not known."

    @property
    def state(self) -> State:
        if self.rule.off:
            return "idle"
        if self.alert is not None:
            return "idle" if self.silence else self.severity
        if not self.known:
            return "unknown"
        return "idle" if self.silence else "good"

    @property
    def severity(self) -> State:
        return "bad" if self.alarm.severity == "bad" else "warn"

    @property
    def word(self) -> str:
        if self.rule.off:
            return "Off"
        if self.alert is not None:
            return "Firing, silenced" if self.silence else "Firing"
        if not self.known:
            return "Unknown"
        return "Silenced" if self.silence else "Pending" if self.pending else "Well"

    @property
    def pending(self) -> str:
        """ "for 30 s": beyond the threshold, and not yet for long enough to fire."""
        since = self.standing.beyond_since if self.standing and self.known else None
        return span((self.now - since).total_seconds()) if since and self.alert is None else ""

    @property
    def sentence(self) -> str:
        return self.standing.sentence if self.standing and self.known else ""

    @property
    def shown(self) -> str:
        """The value with its unit, or "unknown"."""
        return "unknown" if self.value is None else measure(self.value, self.alarm.unit)

    @property
    def limit(self) -> str:
        return measure(self.rule.threshold, self.alarm.unit)

    @property
    def held(self) -> str:
        return span(self.rule.lasting)

    @property
    def default(self) -> str:
        """The default, in the words of the rule."""
        return Rule(self.alarm, self.alarm.threshold, self.alarm.lasting).says

    @property
    def lasts(self) -> str:
        """How long the alert lasts, since its value was first beyond."""
        return span((self.now - self.alert.since).total_seconds()) if self.alert else ""

    @property
    def worst(self) -> str:
        return measure(self.alert.worst, self.alarm.unit) if self.alert else ""

    @property
    def url(self) -> str:
        return reverse("admin:events_alert_change", args=[self.alarm.name])

    @property
    def evidence(self) -> str:
        """The page that shows more; "" where there is none."""
        try:
            return reverse(self.alarm.url_name) if self.alarm.url_name else ""
        except NoReverseMatch:
            return ""


@dataclass(frozen=True)
class Room:
    name: str
    lines: list[Line]


def lines(names: Iterable[str] | None = None) -> list[Line]:
    """A line for every rule, or for those with these names, by room and name."""
    wanted = None if names is None else set(names)
    standings = {standing.alarm: standing for standing in AlertStanding.objects.all()}
    firing = {alert.alarm: alert for alert in Alert.objects.firing()}
    silences = Silence.objects.by_alarm()
    now = timezone.now()
    return [
        Line(rule, standings.get(name), firing.get(name), silences.get(name), now)
        for rule in rules()
        if (name := rule.alarm.name) and (wanted is None or name in wanted)
    ]


def rooms(several: Sequence[Line]) -> list[Room]:
    """The lines by their room, in the order of the navigation."""
    ordered = sorted(several, key=lambda line: (GROUPS.index(line.alarm.room), line.alarm.title))
    return [Room(name, list(of)) for name, of in groupby(ordered, key=lambda line: line.alarm.room)]


def firing_first(several: Sequence[Line]) -> list[Line]:
    """Those that fire: worst first, silenced ones last, then the longest."""
    firing = [line for line in several if line.alert]
    return sorted(firing, key=lambda line: (SEVERITY.index(line.state), line.alert and line.alert.since))
