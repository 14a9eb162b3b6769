"""Events as lines for people: actor, sentence, link."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from django.urls import NoReverseMatch, reverse

from arcweb.events.models import Event, EventDetail
from arcweb.events.querysets import details_of
from arcweb.events.sentences import sentence


@dataclass(frozen=True)
class Line:
    occurred_at: datetime
    kind: str
    actor: str
    address: str
    sentence: str
    note: str
    url: str  #: the object's page; empty when it has none, or is deleted


def lines(events: Iterable[Event]) -> list[Line]:
    """One line an event, in the given order; one query for all details."""
    events = list(events)
    details = details_of(events)
    return [_line(event, details.get(event.pk)) for event in events]


def _line(event: Event, detail: EventDetail | None) -> Line:
    name = (detail.label if detail else "") or event.object_id
    return Line(
        occurred_at=event.occurred_at,
        kind=event.kind,
        actor=_actor(event, detail),
        address=(detail.address if detail else None) or "",
        sentence=sentence(event.kind, name, event.data),
        note=detail.note if detail else "",
        url="" if event.kind.endswith(".deleted") else object_url(event.object_type, event.object_id),
    )


def _actor(event: Event, detail: EventDetail | None) -> str:
    if detail and detail.actor_name:
        return detail.actor_name
    if event.actor_kind == "user":
        return f"user {event.actor_id}" if event.actor_id else "somebody not logged in"
    return f"{event.actor_kind} {event.actor_id}".rstrip()


def object_url(object_type: str, object_id: str) -> str:
    """The admin page of an object of type "app.model", or "" when that model has no page."""
    app_label, dot, model = object_type.partition(".")
    if not dot or not object_id:
        return ""
    try:
        return reverse(f"admin:{app_label}_{model}_change", args=[object_id])
    except NoReverseMatch:
        return ""
