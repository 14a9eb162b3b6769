"""How much an agent did, day by day."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db import connection

#: Days of the chart, today included, and events counted at most: the newest.
DAYS, MOST_COUNTED = 14, 50_000

# The newest events of the agent by its index alone. When there are more than are counted, the day that the
# last one falls into is not whole, and neither it nor those before it are known.
BY_DAY = """
    WITH days AS (
        SELECT day, day AT TIME ZONE 'UTC' AS first
        FROM date_trunc('day', now() AT TIME ZONE 'UTC') AS today,
             generate_series(today - make_interval(days => %(days)s - 1), today, '1 day') AS day
    ), counted AS (
        SELECT occurred_at FROM events.events
        WHERE agent_id = %(agent)s AND occurred_at >= (SELECT min(first) FROM days) AND occurred_at <= now()
        ORDER BY occurred_at DESC, id DESC LIMIT %(most)s
    ), whole AS (
        SELECT CASE WHEN count(*) = %(most)s THEN min(occurred_at) END AS since FROM counted
    ), numbers AS (
        SELECT date_trunc('day', occurred_at AT TIME ZONE 'UTC') AS day, count(*) AS number
        FROM counted GROUP BY 1
    )
    SELECT days.first, CASE WHEN since IS NULL OR days.first > since THEN coalesce(number, 0) END
    FROM days CROSS JOIN whole LEFT JOIN numbers ON numbers.day = days.day
    ORDER BY days.first
"""


@dataclass(frozen=True)
class Activity:
    """Events of each day (UTC), oldest first; None: too many events to know."""

    days: tuple[tuple[datetime, int | None], ...]

    @property
    def today(self) -> int | None:
        return self.days[-1][1]

    @property
    def total(self) -> int:
        return sum(number or 0 for _, number in self.days)

    @property
    def whole(self) -> bool:
        return all(number is not None for _, number in self.days)


def of_agent(agent: UUID) -> Activity:
    """The last DAYS days of one agent, in one query that reads MOST_COUNTED entries of an index at most."""
    with connection.cursor() as cursor:
        cursor.execute(BY_DAY, {"days": DAYS, "agent": agent, "most": MOST_COUNTED})
        return Activity(tuple(cursor.fetchall()))
