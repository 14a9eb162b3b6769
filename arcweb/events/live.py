"""The live tail: events in the order in which they become visible, none lost, none twice.

An event carries the time its transaction began, and is seen when that commits: it may appear below others
that were shown already. So a tail looks again, each time, at everything since the oldest transaction that
may still write, and leaves out what it has shown; both travel with the reader, in a Mark.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from django.db import connections
from django.utils import timezone
from django.utils.dateparse import parse_datetime

from arcweb.events.querysets import EventQuerySet

if TYPE_CHECKING:
    from arcweb.events.models import Event

#: Events of one answer; the rest come with the next.
MOST_LINES = 100
#: Events that a mark remembers, some 3 bytes each in an address; at more, the oldest are taken as settled.
MOST_SEEN = 800
#: What is always looked at again, and what when sessions of other roles cannot be seen; at most so far back.
OVERLAP, BLIND, LONGEST = timedelta(seconds=10), timedelta(minutes=5), timedelta(hours=1)
#: A mark that is older is no tail any more.
OLDEST = timedelta(hours=6)

# Whoever has begun a transaction by now and not ended it may still write with the time of its beginning.
# The third: there are sessions of other roles whose beginning this one may not see.
RUNNING = """
    SELECT now(), min(xact_start), bool_or(query = '<insufficient privilege>')
    FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()
"""


@dataclass(frozen=True)
class Mark:
    """Everything before `since` is settled; of what came after, `seen` was shown, or stood there at first."""

    since: datetime
    seen: frozenset[int]

    def __str__(self) -> str:
        """Fit for an address: the time, and the ids as the first and the steps between them in base 36."""
        steps, before = [], 0
        for number in sorted(self.seen):
            steps.append(_base36(number - before))
            before = number
        return f"{self.since.isoformat()}~{'.'.join(steps)}"

    @classmethod
    def parse(cls, text: str) -> Mark:
        """The inverse of str(); ValueError for anything else."""
        moment, mark, steps = text.partition("~")
        since = parse_datetime(moment)
        if since is None or timezone.is_naive(since) or not mark or len(steps) > 20_000:
            raise ValueError(f"{text[:40]!r} is no place in the tail.")
        seen, number = set(), 0
        for step in filter(None, steps.split(".")):
            if not step.isascii() or not step.isalnum():
                raise ValueError(f"{text[:40]!r} is no place in the tail.")
            number += int(step, 36)
            seen.add(number)
        return cls(since, frozenset(seen))


@dataclass(frozen=True)
class Tail:
    """New events, newest first, and the mark to ask with next. more: there are others already."""

    events: list[Event]
    mark: Mark
    more: bool


def begin(rows: EventQuerySet, size: int) -> Tail:
    """The newest `size` of these events, and the mark from which on a tail goes."""
    since = _settled(rows.db)
    window = rows.filter(occurred_at__gte=since).walk(MOST_SEEN + 1, "-occurred_at", "-id")
    older = rows.filter(occurred_at__lt=since).walk(size, "-occurred_at", "-id") if len(window) < size else []
    return Tail([*window, *older][:size], _mark(since, window), more=False)


def follow(rows: EventQuerySet, mark: Mark) -> Tail:
    """What became visible since that mark. A mark older than OLDEST begins anew, and nothing is returned."""
    settled = _settled(rows.db)
    if settled - mark.since > OLDEST:
        return begin(rows, 0)
    window = rows.filter(occurred_at__gte=mark.since).walk(MOST_SEEN + MOST_LINES + 1, "occurred_at", "id")
    fresh = [event for event in window if event.id not in mark.seen]
    shown, waiting = fresh[:MOST_LINES], fresh[MOST_LINES:]
    if waiting:
        settled = min(settled, waiting[0].occurred_at)
    known = [*shown, *(event for event in window if event.id in mark.seen)]
    known.sort(key=lambda event: event.pk, reverse=True)
    return Tail(shown[::-1], _mark(max(settled, mark.since), known), bool(waiting))


def _settled(using: str) -> datetime:
    """Before this moment no event becomes visible any more, but those whose writer chose their time."""
    with connections[using].cursor() as cursor:
        cursor.execute(RUNNING)
        now, oldest, blind = cursor.fetchone()
    settled: datetime = now - (BLIND if blind else OVERLAP)
    if oldest is not None:
        settled = min(settled, oldest)
    return max(settled, now - LONGEST)


def _mark(since: datetime, newest_first: list[Event]) -> Mark:
    """The mark after these were shown; beyond MOST_SEEN, what is older counts as settled."""
    if len(newest_first) > MOST_SEEN:
        since = max(since, newest_first[MOST_SEEN].occurred_at + timedelta(microseconds=1))
    return Mark(since, frozenset(event.id for event in newest_first if event.occurred_at >= since))


def _base36(number: int) -> str:
    digits = "0123456789abcdefghijklmnopqrstuvwxyz"
    text = ""
    while True:
        number, digit = divmod(number, 36)
        text = digits[digit] + text
        if not number:
            return text
