"""Reading samples: the newest, one from before, and courses over time for charts.

Times are the database's. A source or name that nobody sampled has no readings, and gaps in its course.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import connection

from arcweb.samples.slots import SLOT

#: (start of the bucket, value or None where nothing was sampled), in order of time.
Course = tuple[tuple[datetime, float | None], ...]
#: Seconds that the sample of the present slot may take to arrive before it counts as missing.
GRACE = 12
#: A sample older than this many seconds is no present: the beat or its worker stands still.
STALE = 3 * SLOT

NEWEST = """
    SELECT wanted.source, sample.read_at,
           extract(epoch FROM statement_timestamp() - sample.read_at)::float8, sample.values
    FROM unnest(%s::text[]) AS wanted (source)
    CROSS JOIN LATERAL (
        SELECT read_at, values FROM samples_sample
        WHERE source = wanted.source AND taken_at > statement_timestamp() - interval '1 day'
        ORDER BY taken_at DESC LIMIT 1
    ) AS sample
"""
ONE = """
    SELECT read_at, extract(epoch FROM statement_timestamp() - read_at)::float8, values
    FROM samples_sample
    WHERE source = %(source)s AND taken_at >= %(first)s AND taken_at <= %(last)s
    ORDER BY taken_at {order} LIMIT 1
"""
# The buckets end with the present slot, or the one before while its sample may still be on its way.
GRID = """
    SELECT bucket, bucket + %(width)s AS until
    FROM date_bin(%(slot)s, statement_timestamp() - %(grace)s, 'epoch') AS present,
         generate_series(0, %(buckets)s - 1) AS step,
         LATERAL (SELECT present + %(slot)s - (%(buckets)s - step) * %(width)s AS bucket) AS place
"""
LEVELS = f"""
    WITH grid AS ({GRID}), range AS (
        SELECT min(bucket) AS first, max(until) AS last FROM grid
    ), level AS (
        SELECT name, date_bin(%(width)s, taken_at, first) AS bucket, avg((values ->> name)::float8) AS level
        FROM range
        CROSS JOIN unnest(%(keys)s::text[]) AS name
        JOIN samples_sample ON source = %(source)s AND taken_at >= first AND taken_at < last
        GROUP BY 1, 2
    )
    SELECT wanted, grid.bucket, level
    FROM grid
    CROSS JOIN unnest(%(keys)s::text[]) AS wanted
    LEFT JOIN level ON name = wanted AND level.bucket = grid.bucket
    ORDER BY wanted, grid.bucket
"""  # noqa: S608 - constants only
# A counter that fell was reset by a restart of its server: what it has now was counted since. A step
# over a hole in the samples belongs to no bucket.
RATES = f"""
    WITH grid AS ({GRID}), range AS (
        SELECT min(bucket) AS first, max(until) AS last FROM grid
    ), step AS (
        SELECT name, date_bin(%(width)s, taken_at, first) AS bucket,
               (values ->> name)::float8 AS count,
               lag((values ->> name)::float8) OVER steps AS before,
               extract(epoch FROM read_at - lag(read_at) OVER steps)::float8 AS seconds
        FROM range
        CROSS JOIN unnest(%(keys)s::text[]) AS name
        JOIN samples_sample
            ON source = %(source)s AND taken_at >= first - %(slot)s AND taken_at < last
        WINDOW steps AS (PARTITION BY name ORDER BY taken_at)
    ), speed AS (
        SELECT name, bucket,
               sum(CASE WHEN count >= before THEN count - before ELSE count END) / sum(seconds) AS speed
        FROM step
        WHERE before IS NOT NULL AND count IS NOT NULL AND seconds > 0 AND seconds < 2.5 * %(seconds)s
        GROUP BY name, bucket
    )
    SELECT wanted, grid.bucket, speed
    FROM grid
    CROSS JOIN unnest(%(keys)s::text[]) AS wanted
    LEFT JOIN speed ON name = wanted AND speed.bucket = grid.bucket
    ORDER BY wanted, grid.bucket
"""  # noqa: S608 - constants only


@dataclass(frozen=True)
class Reading:
    """One sample of a source."""

    read_at: datetime
    age: float  #: seconds
    values: dict[str, float]

    @property
    def stale(self) -> bool:
        return self.age > STALE

    def get(self, key: str, default: float = 0) -> float:
        return self.values.get(key, default)


def newest(sources: Sequence[str]) -> dict[str, Reading]:
    """The newest sample of each of these sources, from the last day; a source without one is missing."""
    with connection.cursor() as cursor:
        cursor.execute(NEWEST, [list(sources)])
        return {source: _reading(*row) for source, *row in cursor.fetchall()}


def first_since(source: str, moment: datetime) -> Reading | None:
    """The oldest sample at or after that moment."""
    return _one("ASC", source, moment, datetime.max.replace(tzinfo=moment.tzinfo))


def last_before(source: str, moment: datetime, within: timedelta) -> Reading | None:
    """The newest sample at or before that moment, not older than `within` before it."""
    return _one("DESC", source, moment - within, moment)


def series(source: str, key: str, since: timedelta, buckets: int = 60) -> Course:
    """The averages of a level in equal buckets over the time `since`, the last of them up to now.

    A bucket is at least one slot long, so that there may be fewer than asked for.
    """
    return levels(source, [key], since, buckets)[key]


def levels(source: str, keys: Sequence[str], since: timedelta, buckets: int = 60) -> dict[str, Course]:
    """`series` for several names of one source, in one query."""
    return _courses(LEVELS, source, keys, since, buckets)


def rate(source: str, key: str, since: timedelta, buckets: int = 60) -> Course:
    """How fast a counter grew, per second, in the buckets of `series`; never negative."""
    return rates(source, [key], since, buckets)[key]


def rates(source: str, keys: Sequence[str], since: timedelta, buckets: int = 60) -> dict[str, Course]:
    """`rate` for several names of one source, in one query."""
    return _courses(RATES, source, keys, since, buckets)


def share(part: Course, rest: Course) -> Course:
    """Percent that `part` has of both together, bucket by bucket (hits and misses: the hit rate)."""
    return tuple(
        (moment, None if a is None or b is None or a + b <= 0 else 100 * a / (a + b))
        for (moment, a), (_, b) in zip(part, rest, strict=True)
    )


def growth(before: float, now: float) -> float:
    """By how much a counter grew; one that fell was reset, and has counted `now` since."""
    return now - before if now >= before else now


def _courses(
    statement: str, source: str, keys: Sequence[str], since: timedelta, buckets: int
) -> dict[str, Course]:
    slot = timedelta(seconds=SLOT)
    buckets = max(1, min(buckets, since // slot))
    values: dict[str, Any] = {
        "source": source,
        "keys": list(keys),
        "slot": slot,
        "seconds": SLOT,
        "width": since / buckets,
        "buckets": buckets,
        "grace": timedelta(seconds=GRACE),
    }
    found: dict[str, list[tuple[datetime, float | None]]] = {key: [] for key in keys}
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        for key, moment, value in cursor.fetchall():
            found[key].append((moment, value))
    return {key: tuple(points) for key, points in found.items()}


def _one(order: str, source: str, first: datetime, last: datetime) -> Reading | None:
    with connection.cursor() as cursor:
        cursor.execute(ONE.format(order=order), {"source": source, "first": first, "last": last})
        row = cursor.fetchone()
    return None if row is None else _reading(*row)


def _reading(read_at: datetime, age: float, values: str) -> Reading:
    return Reading(read_at, age, json.loads(values))
