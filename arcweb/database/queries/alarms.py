"""Alarms about statements; on the statistics that are missing there is none, as nothing is known then."""

from __future__ import annotations

from arcweb.alarms import Alarm, Reading, register_alarm
from arcweb.charts import quantity
from arcweb.database.queries.findings import (
    ENOUGH_CALLS,
    MANY_EVICTIONS,
    WHY_EVICTIONS,
    WORK,
    Hour,
    eviction_sentence,
    evictions,
    last_hour,
)
from arcweb.database.queries.lexer import first_word
from arcweb.database.queries.statistics import NoStatistics


def slowest() -> Reading | None:
    """The largest mean of the last hour, of statements with enough calls."""
    hour = _hour()
    if hour is None:
        return None
    means = [
        (change.counted.mean or 0.0, change)
        for change in hour.period.changes
        if change.counted.calls >= ENOUGH_CALLS and first_word(change.entry.text) in WORK
    ]
    if not means:
        return Reading(0.0, "No statement was called often enough in the last hour to tell its mean.")
    mean, change = max(means, key=lambda one: one[0])
    return Reading(
        mean,
        f"The slowest statement of the last hour took {quantity(mean, 'ms')} a call over "
        f"{change.counted.calls:,} calls of {change.entry.role}. Its page shows its plan and what may help.",
    )


def forgotten() -> Reading | None:
    """Evictions an hour; reads no statement."""
    try:
        rate = evictions()
    except NoStatistics:
        return None
    return None if rate is None else Reading(rate, eviction_sentence(rate))


def _hour() -> Hour | None:
    try:
        return last_hour()
    except NoStatistics:
        return None


register_alarm(
    Alarm(
        "postgres.slow_statement",
        "A statement is slow",
        "PostgreSQL",
        slowest,
        unit="ms",
        threshold=500.0,
        why=(
            f"The mean of a statement with at least {ENOUGH_CALLS} calls in the last hour. The page marks "
            "100 ms; with two of 500 ms a page takes the second after which people lose their thread."
        ),
        lasting=600,
        permission="database.view_server",
        url_name="admin:database_queries",
    )
)
register_alarm(
    Alarm(
        "postgres.statements_forgotten",
        "Statistics of statements are forgotten",
        "PostgreSQL",
        forgotten,
        unit="an hour",
        threshold=MANY_EVICTIONS,
        why=WHY_EVICTIONS,
        lasting=1800,
        permission="database.view_server",
        url_name="admin:database_queries",
    )
)
