"""What one agent has stored, at a bounded cost however much that is."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db import connection

from arcweb.samples.series import Course
from memories.models import Document
from memories.samplers import BY_INDEX, STATES, StateCounts

#: Rows of one state that are counted for an agent.
MOST_COUNTED = 10_000
#: Newest rows that the days are counted from, and days.
MOST_ROWS = 50_000
MOST_DAYS = 30
#: Documents of an agent that are counted.
MOST_DOCUMENTS = 1_000

COUNT = """
    SELECT name,
           (SELECT count(*) FROM (
               SELECT FROM agents.memories
               WHERE embedding_state = name AND agent_id = %(agent)s LIMIT %(most)s + 1
           ) AS counted)
    FROM unnest(%(states)s::text[]) AS name
"""
PER_DAY = """
    WITH newest AS MATERIALIZED (
        SELECT created_at FROM agents.memories
        WHERE agent_id = %(agent)s
          AND created_at >= date_trunc('day', statement_timestamp(), 'UTC') - %(days)s * interval '1 day'
          AND created_at <= statement_timestamp()
        ORDER BY created_at DESC LIMIT %(most)s
    )
    SELECT day, count(created_at), (SELECT count(*) FROM newest), (SELECT min(created_at) FROM newest)
    FROM generate_series(
        date_trunc('day', statement_timestamp(), 'UTC') - %(days)s * interval '1 day',
        date_trunc('day', statement_timestamp(), 'UTC'), '1 day'
    ) AS day
    LEFT JOIN newest ON date_trunc('day', created_at, 'UTC') = day
    GROUP BY day ORDER BY day
"""


@dataclass(frozen=True)
class Days:
    """Memories stored per day (UTC), up to today. cut: days before the newest MOST_ROWS rows are gaps."""

    points: Course
    cut: bool


def states_of(agent: UUID) -> StateCounts:
    """The agent's memories by state, each exact up to MOST_COUNTED; a capped count is MOST_COUNTED."""
    with connection.cursor() as cursor:
        cursor.execute(BY_INDEX)
        cursor.execute(COUNT, {"agent": agent, "states": list(STATES), "most": MOST_COUNTED})
        found: dict[str, int] = dict(cursor.fetchall())
    return StateCounts(
        {name: min(count, MOST_COUNTED) for name, count in found.items()},
        frozenset(name for name, count in found.items() if count > MOST_COUNTED),
        at_least=True,
    )


def per_day(agent: UUID) -> Days:
    """Over the last MOST_DAYS days, today included."""
    with connection.cursor() as cursor:
        cursor.execute(BY_INDEX)
        cursor.execute(PER_DAY, {"agent": agent, "days": MOST_DAYS - 1, "most": MOST_ROWS})
        rows: list[tuple[datetime, int, int, datetime | None]] = cursor.fetchall()
    cut = rows[0][2] >= MOST_ROWS
    oldest = rows[0][3]
    return Days(
        tuple(
            # The oldest day may be counted in part only.
            (day, None if cut and oldest is not None and day <= oldest else count)
            for day, count, _, _ in rows
        ),
        cut,
    )


def documents_of(agent: UUID, most: int) -> tuple[list[Document], int]:
    """The agent's newest documents, at most so many, and their number, counted up to MOST_DOCUMENTS + 1."""
    own = Document.objects.filter(agent=agent)
    newest = own.order_by("-created_at", "-id").only("name", "chunk_count", "created_at")
    return list(newest[:most]), own.order_by()[: MOST_DOCUMENTS + 1].count()
