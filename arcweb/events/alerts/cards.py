"""What the overview shows of alerts: a card, and the part of the verdict."""

from __future__ import annotations

from collections.abc import Mapping

from django.http import HttpRequest
from django.urls import reverse

from arcweb.accounts.roles import has
from arcweb.alarms import Alarm, find_alarm
from arcweb.events.alerts.board import firing_first, lines
from arcweb.events.alerts.rules import measure
from arcweb.panels import Card, Concern, Panel, Row, State, register_panel
from arcweb.watches import Outlook, Watch, register_watch

SOURCE = "alerts"
FIRING = "firing:"
#: Firing alerts that the card names.
MOST_SHOWN = 4


def alerts_card(request: HttpRequest) -> Card:
    seen = [
        line for line in lines() if not line.alarm.permission or request.user.has_perm(line.alarm.permission)
    ]
    firing = firing_first(seen)
    loud = [line for line in firing if not line.silence]
    unknown = sum(line.state == "unknown" for line in seen)
    state: State = loud[0].state if loud else "unknown" if unknown else "good"
    rows = [Row(line.alarm.title, line.shown, f"Threshold {line.limit}", line.url) for line in firing]
    more = len(rows) - MOST_SHOWN
    rest = [Row("More fire", f"{more:,}")] if more > 0 else []
    return Card(
        state,
        f"{len(loud)} firing" if loud else "Not all is known" if unknown else "None fires",
        f"{len(firing):,}",
        "of 1 rule fires" if len(seen) == 1 else f"of {len(seen):,} rules fire",
        (
            *rows[:MOST_SHOWN],
            *rest,
            *([Row("Silenced", f"{len(firing) - len(loud):,}")] if len(firing) > len(loud) else []),
            *([Row("Unknown", f"{unknown:,}")] if unknown else []),
        ),
    )


def look(values: Mapping[str, float] | None) -> Outlook:
    """For the verdict, from the newest sample: the worst by name, where every viewer may know of it."""
    if values is None:
        return Outlook()
    firing = {name.removeprefix(FIRING): value for name, value in values.items() if name.startswith(FIRING)}
    url = reverse("admin:alerts")
    concerns = [_concern(find_alarm(name), value, url) for name, value in firing.items()]
    if values.get("failed"):
        concerns.append(
            Concern("warn", "An alert could not be sent.", f"{url}#channels", "Show the channels")
        )
    return Outlook(tuple(concerns))


def _concern(alarm: Alarm | None, value: float, url: str) -> Concern:
    if alarm is None or (alarm.permission and not has("viewer", alarm.permission)):
        return Concern("warn", "An alert fires.", url, "Show the alerts")
    reading = measure(value, alarm.unit)
    page = reverse("admin:events_alert_change", args=[alarm.name])
    return Concern(alarm.severity, f"Alert: {alarm.title} ({reading}).", page, "Show the alert")


register_watch(Watch("alerts", "events.view_alert", SOURCE, look, order=5))
register_panel(
    Panel(
        "alerts",
        "Alerts",
        "overview",
        "events.view_alert",
        alerts_card,
        order=5,
        refresh=15,
        url_name="admin:alerts",
    )
)
