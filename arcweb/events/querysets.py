"""Named queries over events: the timeline's filters and its keyset pages.

A filter that stands for several values ("auth." for each kind that begins so) is asked as one short walk of
an index for each value, merged: an IN would read all their events and sort them.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, date, datetime, time, timedelta
from functools import reduce
from itertools import product
from math import prod
from operator import or_
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from django.db import connections, models
from django.utils import timezone
from django.utils.dateparse import parse_datetime

from arcweb.events import names

if TYPE_CHECKING:
    from arcweb.events.models import Event, EventDetail


#: Walks the index from one kind to the next: as many steps as kinds, however many events.
KINDS = """
WITH RECURSIVE kinds AS (
    (SELECT kind FROM events.events ORDER BY kind LIMIT 1)
    UNION ALL
    SELECT (SELECT kind FROM events.events WHERE kind > kinds.kind ORDER BY kind LIMIT 1)
    FROM kinds WHERE kinds.kind IS NOT NULL
)
SELECT kind FROM kinds WHERE kind IS NOT NULL LIMIT %s
"""
MOST_KINDS = 200  # other services choose theirs
#: Times that are shown: those that Python has.
EARLIEST, LATEST = datetime(1, 1, 2, tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC)
#: Walks that one page may consist of; beyond it PostgreSQL finds its own way.
MOST_WALKS = 32


class Cursor(NamedTuple):
    """A place in the timeline: the key of one event."""

    occurred_at: datetime
    id: int

    def __str__(self) -> str:
        return f"{self.occurred_at.isoformat()}~{self.id}"

    @classmethod
    def parse(cls, text: str) -> Cursor:
        """The inverse of str(); ValueError for anything else."""
        moment, _, number = text.partition("~")
        occurred_at = parse_datetime(moment)
        if (
            occurred_at is None
            or timezone.is_naive(occurred_at)
            or not number.isascii()
            or not number.isdigit()
        ):
            raise ValueError(f"{text!r} is no place in the timeline.")
        if (key := int(number)) >= 2**63:
            raise ValueError(f"{text!r} is no place in the timeline.")
        return cls(occurred_at, key)


class TimelinePage(NamedTuple):
    events: list[Event]  #: newest first
    newer: Cursor | None  #: give as `newer_than` for the page before this one; None: nothing there
    older: Cursor | None


class EventQuerySet(models.QuerySet["Event"]):
    #: Each a choice of conditions, of which an event meets one: a page walks each combination by itself.
    choices: tuple[tuple[models.Q, ...], ...] = ()

    def _clone(self) -> Self:
        copy: Self = super()._clone()  # type: ignore[misc]
        copy.choices = self.choices
        return copy

    def one_of(self, *conditions: models.Q) -> Self:
        """Events that meet one of these conditions, which exclude each other; none for no condition."""
        if not conditions:
            return self.none()
        rows = self.filter(reduce(or_, conditions))
        if len(conditions) > 1:
            rows.choices = (*self.choices, conditions)
        return rows

    def kinds(self) -> list[str]:
        """The kinds of all events (the first MOST_KINDS), in order; filters of this queryset do not count."""
        with connections[self.db].cursor() as cursor:
            cursor.execute(KINDS, [MOST_KINDS])
            return [kind for (kind,) in cursor.fetchall()]

    def of_kind(self, prefix: str) -> Self:
        """Events whose kind begins so: "auth." or "agent.changed"."""
        return self.filter(kind__startswith=prefix)

    def in_calendar(self) -> Self:
        """These events without those of a time that Python has not: infinity, years BC or beyond 9999.

        Any service may INSERT one; psycopg could not read it, and no page would show anything.
        """
        return self.filter(occurred_at__gte=EARLIEST, occurred_at__lt=LATEST)

    def until_now(self) -> Self:
        """These events without those that are recorded later on (one query)."""
        rows = self.in_calendar()
        newest = rows.order_by("-occurred_at", "-id").first()
        return self.none() if newest is None else rows.filter(pk__lte=newest.pk)

    def counted(self, most: int) -> int:
        """How many events these are, counted no further than `most` + 1."""
        return self.order_by()[: most + 1].count()

    def of_kinds(self, kinds: Iterable[str]) -> Self:
        """Events of one of these kinds."""
        return self.one_of(*(models.Q(kind=kind) for kind in kinds))

    def by_actor(self, text: str) -> Self:
        """Events of the actor whose id is `text`; if there is none, of those whose name begins with it."""
        if _any(actor_id=text):
            return self.filter(actor_id=text)
        found = names.bearers("actor_name", text)
        return self.one_of(
            *(
                models.Q(actor_id=one.id)
                if one.id
                else models.Q(self._detail(actor_name__iexact=one.name), actor_id="")
                for one in _without_repeats(found)
            )
        )

    def of_agents(self, text: str) -> Self:
        """Events of the agent with that id; of those whose name begins with `text` if it is no id."""
        return self.one_of(*(models.Q(agent_id=agent) for agent in names.agents(text)))

    def about(self, text: str) -> Self:
        """Events on the object "type/id" or with id `text`; if there is none, on those named so."""
        object_type, slash, object_id = text.partition("/")
        if slash:
            return self.filter(object_type=object_type, object_id=object_id)
        if _any(object_id=text):
            return self.filter(object_id=text)
        return self.one_of(
            *(
                models.Q(object_type=one.kind, object_id=one.id)
                if one.id
                else models.Q(self._detail(label__iexact=one.name), object_type=one.kind, object_id="")
                for one in names.bearers("label", text)
            )
        )

    def between(self, first: date | None, last: date | None) -> Self:
        """Events of the days from first to last, both included, in UTC; None: open."""
        rows = self
        if first is not None:
            rows = rows.filter(occurred_at__gte=_midnight(first))
        if last is not None and last < date.max:
            rows = rows.filter(occurred_at__lt=_midnight(last + timedelta(days=1)))
        return rows

    def page(
        self, size: int, *, older_than: Cursor | None = None, newer_than: Cursor | None = None
    ) -> TimelinePage:
        """`size` events by key, newest first, in one query; no counting, no offset."""
        if newer_than is not None:
            rows = self.filter(pk__gt=tuple(newer_than)).walk(size + 1, "occurred_at", "id")
            more_newer, more_older = len(rows) > size, True
            rows = rows[:size][::-1]
        else:
            below = self if older_than is None else self.filter(pk__lt=tuple(older_than))
            rows = below.walk(size + 1, "-occurred_at", "-id")
            more_newer, more_older = older_than is not None, len(rows) > size
            rows = rows[:size]
        if not rows:
            # Past an end: the way back is the place we came from.
            return TimelinePage([], older_than, newer_than)
        return TimelinePage(
            rows,
            Cursor(*rows[0].pk) if more_newer else None,
            Cursor(*rows[-1].pk) if more_older else None,
        )

    def walk(self, most: int, *order: str) -> list[Event]:
        """The first of these events in that order, in one query: each choice by itself, then merged."""
        rows = self.in_calendar()
        if not self.choices or prod(map(len, self.choices)) > MOST_WALKS:
            return list(rows.order_by(*order)[:most])
        walks = [rows.filter(*conditions).order_by(*order)[:most] for conditions in product(*self.choices)]
        return list(walks[0].union(*walks[1:], all=True).order_by(*order)[:most])

    def _detail(self, **conditions: str) -> models.Exists:
        from arcweb.events.models import EventDetail

        return models.Exists(
            EventDetail.objects.filter(
                occurred_at=models.OuterRef("occurred_at"), event_id=models.OuterRef("id"), **conditions
            )
        )


def _without_repeats(found: Iterable[names.Bearer]) -> list[names.Bearer]:
    """An actor once, whatever kind of actor its events say it was."""
    return list({(one.id, one.name): one for one in found}.values())


def details_of(events: Iterable[Event]) -> dict[Any, EventDetail]:
    """The details of these events by the events' keys, in one query; erased ones are missing."""
    from arcweb.events.models import EventDetail

    keys = {event.pk for event in events}
    if not keys:
        return {}
    # Both columns apart, not key by key: from 17 on PostgreSQL reads neighbours in one descent of the index.
    near = EventDetail.objects.filter(
        occurred_at__in={moment for moment, _ in keys}, event_id__in={number for _, number in keys}
    )
    return {detail.pk: detail for detail in near if detail.pk in keys}


def _any(**conditions: str) -> bool:
    from arcweb.events.models import Event

    return Event.objects.filter(**conditions).exists()


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time.min, tzinfo=timezone.get_default_timezone())
