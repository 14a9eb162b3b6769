"""Events as lines for people: actor, sentence, link."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import groupby
from typing import TYPE_CHECKING

from django.urls import NoReverseMatch, reverse
from django.utils import timezone

from arcweb.events.models import Event, EventDetail
from arcweb.events.querysets import details_of
from arcweb.events.sentences import sentence

if TYPE_CHECKING:
    from django.contrib.auth.models import AnonymousUser, User


@dataclass(frozen=True)
class Line:
    occurred_at: datetime
    kind: str
    actor: str
    actor_id: str
    address: str
    sentence: str
    note: str
    url: str  #: the object's page; empty when it has none, is deleted, or is not for the reader
    erased: bool  #: names and address were recorded and are gone


@dataclass(frozen=True)
class Day:
    date: date  #: in UTC
    name: str  #: "Today", "Yesterday" or ""
    lines: list[Line]


def lines(events: Iterable[Event], reader: User | AnonymousUser) -> list[Line]:
    """One line an event, in the given order; one query for all details.

    Only objects that the reader may see are links.
    """
    events = list(events)
    details = details_of(events)
    return [_line(event, details.get(event.pk), reader) for event in events]


def days(several: Iterable[Line]) -> list[Day]:
    """Lines, in the order of time, by the day (UTC) they belong to."""
    today = timezone.now().date()
    names = {today: "Today", today - timedelta(days=1): "Yesterday"}
    grouped = groupby(several, key=lambda line: line.occurred_at.astimezone(UTC).date())
    return [Day(day, names.get(day, ""), list(of_day)) for day, of_day in grouped]


def _line(event: Event, detail: EventDetail | None, reader: User | AnonymousUser) -> Line:
    name = (detail.label if detail else "") or event.object_id
    linked = not event.kind.endswith(".deleted") and _may_see(reader, event.object_type)
    return Line(
        occurred_at=event.occurred_at,
        kind=event.kind,
        actor=_actor(event, detail),
        actor_id=event.actor_id,
        address=(detail.address if detail else None) or "",
        sentence=sentence(event.kind, name, event.data),
        note=detail.note if detail else "",
        url=object_url(event.object_type, event.object_id) if linked else "",
        # Other services may INSERT an event without details; ours always have them at first.
        erased=detail is None and event.actor_kind != "service",
    )


def _may_see(reader: User | AnonymousUser, object_type: str) -> bool:
    app_label, _, model = object_type.partition(".")
    return any(reader.has_perm(f"{app_label}.{verb}_{model}") for verb in ("view", "change"))


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
