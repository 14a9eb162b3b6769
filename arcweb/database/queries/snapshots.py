"""Snapshots of the statements' counters, and what was counted since one of them.

A beat job takes one in every slot of ten minutes: often enough that "in the last hour" is right to a sixth,
and seldom enough that reading all statements (some ten milliseconds) does not show. A snapshot is one row
with the counters of the MOST statements that took most time, without their texts: about 20 kB compressed
for 500 statements, 3 MB a day at most. They are kept as long as samples are (ARC_SAMPLE_DAYS).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import astuple, dataclass
from datetime import datetime
from itertools import pairwise
from typing import Any

from django.conf import settings
from django.db import connection

from arcweb.database.queries.statistics import (
    NOTHING,
    Counters,
    Entry,
    Key,
    NoStatistics,
    Statistics,
    read,
    total,
)
from arcweb.postgres import limited

#: Seconds of a slot.
SLOT = 600
#: Statements of a snapshot: those with most time. The others of a server's 5,000 are rare or quick.
MOST = 500
#: Seconds that reading may take.
LIMIT = 5.0

KEEP = """
    INSERT INTO database_querysnapshot (taken_at, read_at, reset_at, evictions, known, entries)
    SELECT date_bin(make_interval(secs => %(slot)s), %(read_at)s::timestamptz, 'epoch'), %(read_at)s,
           %(reset_at)s, %(evictions)s, %(known)s, %(entries)s::jsonb
    ON CONFLICT (taken_at) DO NOTHING
"""
FORGET = """
    DELETE FROM database_querysnapshot WHERE taken_at < statement_timestamp() - make_interval(days => %s)
"""
LISTED = "SELECT taken_at, read_at, reset_at FROM database_querysnapshot ORDER BY taken_at DESC LIMIT %s"
ONE = """
    SELECT read_at, reset_at, evictions, known, entries FROM database_querysnapshot
    WHERE {which} LIMIT 1
"""
BEFORE = ONE.format(which="read_at <= %s ORDER BY taken_at DESC")
OLDEST = ONE.format(which="taken_at >= %s ORDER BY taken_at")
HEADER = """
    SELECT read_at, reset_at, evictions FROM database_querysnapshot
    ORDER BY read_at > %(moment)s, abs(extract(epoch FROM read_at - %(moment)s)) LIMIT 1
"""
HISTORY = """
    SELECT read_at, reset_at, known, entries -> %s FROM database_querysnapshot
    WHERE taken_at >= %s ORDER BY taken_at
"""


@dataclass(frozen=True)
class Snapshot:
    read_at: datetime
    reset_at: datetime | None
    evictions: int
    known: int  #: statements that the server had
    entries: Mapping[Key, Counters]

    @property
    def complete(self) -> bool:
        """Whether what it does not have had no counters then."""
        return self.known <= len(self.entries)


@dataclass(frozen=True)
class Change:
    """What was counted of a statement in a period."""

    entry: Entry
    counted: Counters
    before: Counters  #: up to the period's beginning; NOTHING where that is not known
    note: str = ""  #: why it may be more, or less, than what the period had


@dataclass(frozen=True)
class Period:
    """What was counted from `began` until `now.read_at`. `snapshot` is None for "since the reset"."""

    now: Statistics
    snapshot: Snapshot | None
    began: datetime | None  #: None: nobody knows since when
    cut: bool  #: the statistics were reset after the moment that was asked for
    changes: list[Change]

    @property
    def seconds(self) -> float | None:
        return (self.now.read_at - self.began).total_seconds() if self.began else None


def take() -> bool:
    """A snapshot for the present slot, and old ones forgotten; whether a row was written.

    False: another beat was first, the server counts no statements, or it is a replica. Safe to run twice.
    """
    try:
        with limited(LIMIT):
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_is_in_recovery()")
                if cursor.fetchone()[0]:
                    return False
            now = read()
    except NoStatistics:
        return False
    with connection.cursor() as cursor:
        cursor.execute(KEEP, {**_row(now), "slot": SLOT})
        written = cursor.rowcount == 1
        if written:
            cursor.execute(FORGET, [settings.ARC_SAMPLE_DAYS])
    return written


def listed(most: int) -> list[tuple[datetime, datetime, datetime | None]]:
    """(slot, read at, reset at) of the newest snapshots, newest first."""
    with connection.cursor() as cursor:
        cursor.execute(LISTED, [most])
        return list(cursor.fetchall())


def before(moment: datetime) -> Snapshot | None:
    """The newest that was read at or before that moment; the oldest of all where none is that old."""
    return _one(BEFORE, moment) or _one(OLDEST, moment)


def header(moment: datetime) -> tuple[datetime, datetime | None, int] | None:
    """(read at, reset at, evictions) of the snapshot that `before` gives, without its entries."""
    with connection.cursor() as cursor:
        cursor.execute(HEADER, {"moment": moment})
        row = cursor.fetchone()
    return None if row is None else (row[0], row[1], row[2])


def since(snapshot: Snapshot | None, now: Statistics) -> Period:
    """What was counted since a snapshot, or since the statistics were reset.

    A reset in between leaves what was counted after it: the period is cut, and says so. A statement whose
    own counters fell, or whose counting began after the snapshot by the server's word (PostgreSQL 17 and
    later), is counted from there. One that an incomplete snapshot does not have may have been counted
    before; then it is the whole of its counters, with a note.
    """
    cut = snapshot is not None and snapshot.reset_at != now.reset_at
    if snapshot is None or cut:
        changes = [Change(entry, entry.counters, NOTHING) for entry in now.entries.values()]
        return Period(now, snapshot, now.reset_at, cut, _counted(changes))
    changes = [_change(snapshot, entry) for entry in now.entries.values()]
    return Period(now, snapshot, snapshot.read_at, cut, _counted(changes))


def history(
    queryid: int, since_moment: datetime, now: Statistics
) -> list[tuple[datetime, float, Counters | None]]:
    """Step by step, the last one up to now: (end, its seconds, what was counted in all roles).

    None: nobody knows, as a slot is missing, or the counters began anew within the step.
    """
    with connection.cursor() as cursor:
        cursor.execute(HISTORY, [str(queryid), since_moment])
        points = [
            (at, reset_at, None if found is None and known > MOST else _sum(_loads(found)))
            for at, reset_at, known, found in cursor.fetchall()
        ]
    points.append((now.read_at, now.reset_at, total(entry.counters for entry in now.entries.values())))
    steps: list[tuple[datetime, float, Counters | None]] = []
    for (started, old_reset, first), (ended, new_reset, last) in pairwise(points):
        seconds = (ended - started).total_seconds()
        counted = None
        if first is not None and last is not None and old_reset == new_reset and 0 < seconds < 2.5 * SLOT:
            counted = last - first
        steps.append((ended, seconds, None if counted is None or counted.fell else counted))
    return steps


def _change(snapshot: Snapshot, entry: Entry) -> Change:
    was = snapshot.entries.get(entry.key)
    anew = entry.since is not None and entry.since > snapshot.read_at
    if was is None:
        if anew or snapshot.complete:
            return Change(entry, entry.counters, NOTHING)
        return Change(entry, entry.counters, NOTHING, "Since the reset: it was too small for the snapshot.")
    counted = entry.counters - was
    if anew or counted.fell:
        return Change(
            entry,
            entry.counters,
            NOTHING,
            "At least this: its counters began anew within the period.",
        )
    return Change(entry, counted, was)


def _counted(changes: Iterable[Change]) -> list[Change]:
    return [one for one in changes if one.counted.calls > 0]


def _row(now: Statistics) -> dict[str, Any]:
    costly = sorted(now.entries.values(), key=lambda entry: -entry.counters.milliseconds)[:MOST]
    entries: dict[str, dict[str, list[float]]] = {}
    for entry in costly:
        # By queryid first: the course of one statement is then one look into each snapshot.
        entries.setdefault(str(entry.key.queryid), {})[str(entry.key.userid)] = [
            round(number, 3) for number in astuple(entry.counters)
        ]
    return {
        "read_at": now.read_at,
        "reset_at": now.reset_at,
        "evictions": now.evictions,
        "known": len(now.entries),
        "entries": json.dumps(entries, separators=(",", ":")),
    }


def _one(statement: str, moment: datetime) -> Snapshot | None:
    with connection.cursor() as cursor:
        cursor.execute(statement, [moment])
        row = cursor.fetchone()
    if row is None:
        return None
    read_at, reset_at, evictions, known, entries = row
    found = {
        Key(int(queryid), int(userid)): Counters(*numbers)
        for queryid, roles in _loads(entries).items()
        for userid, numbers in roles.items()
    }
    return Snapshot(read_at, reset_at, evictions, known, found)


def _loads(found: Any) -> Any:
    """jsonb comes as text to Django's cursors."""
    return json.loads(found) if isinstance(found, str) else (found or {})


def _sum(roles: Mapping[str, list[float]]) -> Counters:
    return total(Counters(*numbers) for numbers in roles.values())  # type: ignore[arg-type]
