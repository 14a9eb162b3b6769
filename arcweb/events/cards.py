"""The last events, on the overview and on an agent's page."""

from __future__ import annotations

from uuid import UUID

from django.contrib.auth.models import AnonymousUser, User
from django.http import HttpRequest
from django.urls import reverse
from django.utils.http import urlencode

import arcweb.events.alerts.cards  # noqa: F401 - registers
from arcweb.events import activity
from arcweb.events.models import Event
from arcweb.events.querysets import EventQuerySet
from arcweb.events.timeline import lines
from arcweb.panels import Card, Chart, Panel, Row, register_panel

#: Events on a card.
MOST_SHOWN = 6


def events_card(request: HttpRequest) -> Card:
    return _timeline(Event.objects.all(), request.user)


def agent_events_card(request: HttpRequest, agent: UUID) -> Card:
    return _timeline(Event.objects.filter(agent_id=agent), request.user)


def agent_activity_card(request: HttpRequest, agent: UUID) -> Card:
    """Its events a day, with the way to all of them."""
    found = activity.of_agent(agent)
    points = tuple((day, None if number is None else float(number)) for day, number in found.days)
    total = f"{found.total:,}" if found.whole else f"more than {found.total:,}"
    today = f"{found.today:,}" if found.today is not None else f"more than {activity.MOST_COUNTED:,}"
    return Card(
        "idle",
        "" if found.total else "Nothing yet",
        today,
        "events today",
        (
            Row(
                f"In {activity.DAYS} days",
                total,
                url=f"{reverse('admin:events')}?{urlencode({'agent': str(agent)})}",
            ),
        ),
        Chart("Events per day", points, "", f"{total} in {activity.DAYS} days, {today} today (UTC)"),
    )


def _timeline(events: EventQuerySet, reader: User | AnonymousUser) -> Card:
    shown = lines(events.page(MOST_SHOWN).events, reader)
    return Card(
        "idle",
        "" if shown else "None yet",
        template="admin/panels/events.html",
        context={"lines": shown},
    )


register_panel(
    Panel(
        "events",
        "Last events",
        "overview",
        "events.view_event",
        events_card,
        order=90,
        url_name="admin:events",
        wide=True,
    )
)
register_panel(
    Panel(
        "agent-activity",
        "Activity",
        "agent",
        "events.view_event",
        agent_activity_card,
        order=25,
        refresh=60,
        wide=True,
    )
)
register_panel(
    Panel(
        "agent-events",
        "Last events",
        "agent",
        "events.view_event",
        agent_events_card,
        order=30,
        refresh=30,
    )
)
