"""The last events, on the overview and on an agent's page."""

from __future__ import annotations

from uuid import UUID

from django.contrib.auth.models import AnonymousUser, User
from django.http import HttpRequest

import arcweb.events.alerts.cards  # noqa: F401 - registers
from arcweb.events.models import Event
from arcweb.events.querysets import EventQuerySet
from arcweb.events.timeline import lines
from arcweb.panels import Card, Panel, register_panel

#: Events on a card.
MOST_SHOWN = 6


def events_card(request: HttpRequest) -> Card:
    return _timeline(Event.objects.all(), request.user)


def agent_events_card(request: HttpRequest, agent: UUID) -> Card:
    return _timeline(Event.objects.filter(agent_id=agent), request.user)


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
        "agent-events",
        "Last events",
        "agent",
        "events.view_event",
        agent_events_card,
        order=30,
        refresh=30,
    )
)
