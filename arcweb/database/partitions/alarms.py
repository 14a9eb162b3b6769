"""The next partition of events missing, and events in the default partition."""

from __future__ import annotations

from django.db import connection

from arcweb.alarms import Alarm, Reading, register_alarm
from arcweb.database.partitions import catalog

#: Rows counted at most: more say nothing more.
MOST_COUNTED = 10_000


def months_ahead() -> Reading | None:
    """How many months after the present one have a partition of events.events; -1: not even the present."""
    table = catalog.events_table(sizes=False)
    if table is None:
        return None
    ahead = table.ahead
    if ahead < 0:
        sentence = (
            "events.events has no partition for this month: events go to the default partition. "
            "Make it on the page of partitions."
        )
    elif ahead == 0:
        sentence = (
            "events.events has no partition for the next month. Make it on the page of partitions, and look "
            "why the beat job did not."
        )
    else:
        sentence = f"events.events has partitions for the next {ahead} month(s)."
    return Reading(ahead, sentence)


def strays() -> Reading | None:
    if catalog.events_table(sizes=False) is None:
        return None
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM (SELECT FROM events.events_default LIMIT %s) AS counted", [MOST_COUNTED]
        )
        rows = int(cursor.fetchone()[0])
    least = "at least " if rows == MOST_COUNTED else ""
    return Reading(
        rows,
        f"{least.capitalize()}{rows:,} events stand in the default partition. Move them into their months on "
        "the page of partitions."
        if rows
        else "The default partition of events is empty.",
    )


register_alarm(
    Alarm(
        "postgres.partitions_ahead",
        "The next partition of events is missing",
        "PostgreSQL",
        months_ahead,
        "months",
        0,
        "Partitions are made three months ahead every night; none left ahead means that this failed "
        "for weeks.",
        fires="at or below",
        permission="database.view_server",
        url_name="admin:database_partitions",
    )
)
register_alarm(
    Alarm(
        "postgres.partition_default",
        "Events in the default partition",
        "PostgreSQL",
        strays,
        "rows",
        1,
        "Events in the default partition keep their month from getting a partition of its own.",
        permission="database.view_server",
        url_name="admin:database_partitions",
    )
)
