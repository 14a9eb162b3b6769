"""The charts of the overview, from the samples."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

from arcweb.charts import Drawing, draw, scaled, summary
from arcweb.panels import Chart
from arcweb.samples.series import Course, levels, rates, share

#: name in the address → (on the button, in a sentence, how long, buckets)
PERIODS: Mapping[str, tuple[str, str, timedelta, int]] = {
    "hour": ("Hour", "in the last hour", timedelta(hours=1), 60),
    "day": ("Day", "in the last day", timedelta(days=1), 96),
    "fortnight": ("14 days", "in the last 14 days", timedelta(days=14), 112),
}
LEVELS = (
    "connections",
    "active",
    "lock_waits",
    "oldest_transaction",
    "size_bytes",
    "dead_rows",
    "replica_lag_bytes",
)
COUNTERS = (
    "commits",
    "rollbacks",
    "heap_hit",
    "heap_read",
    "index_hit",
    "index_read",
    "temp_bytes",
    "wal_bytes",
    "checkpoints_timed",
    "checkpoints_requested",
)


def drawings(period: str) -> list[Drawing]:
    """The charts over one of PERIODS, in two queries. A lag that nobody has is no chart."""
    _, words, since, buckets = PERIODS[period]
    level = levels("postgres", LEVELS, since, buckets)
    speed = rates("postgres", COUNTERS, since, buckets)
    charts = [
        ("Connections", level["connections"], ""),
        ("Active queries", level["active"], ""),
        ("Transactions", _sum(speed["commits"], speed["rollbacks"]), "a second"),
        ("Rollbacks", speed["rollbacks"], "a second"),
        ("Table hit ratio", share(speed["heap_hit"], speed["heap_read"]), "%"),
        ("Index hit ratio", share(speed["index_hit"], speed["index_read"]), "%"),
        ("WAL", *_in_bytes(speed["wal_bytes"], "/s")),
        ("Temporary files", *_in_bytes(speed["temp_bytes"], "/s")),
        (
            "Checkpoints",
            _an_hour(_sum(speed["checkpoints_timed"], speed["checkpoints_requested"])),
            "an hour",
        ),
        ("Database size", *_in_bytes(level["size_bytes"], "")),
        ("Waiting for a lock", level["lock_waits"], ""),
        ("Oldest transaction", level["oldest_transaction"], "s"),
        ("Dead rows", level["dead_rows"], ""),
    ]
    if any(value is not None for _, value in level["replica_lag_bytes"]):
        charts.append(("Replica farthest behind", *_in_bytes(level["replica_lag_bytes"], "")))
    return [draw(Chart(title, course, unit, summary(course, unit, words))) for title, course, unit in charts]


def _sum(one: Course, other: Course) -> Course:
    return tuple(
        (moment, None if a is None or b is None else a + b)
        for (moment, a), (_, b) in zip(one, other, strict=True)
    )


def _an_hour(course: Course) -> Course:
    return tuple((moment, None if value is None else 3600 * value) for moment, value in course)


def _in_bytes(course: Course, per: str) -> tuple[Course, str]:
    """A course of bytes in the unit that suits its largest value."""
    most = max((value for _, value in course if value is not None), default=0)
    number, unit = scaled(most)
    factor = number / most if most else 1
    return tuple((moment, None if value is None else value * factor) for moment, value in course), unit + per
