"""Months of events of a test's own: far in the past, gone with the test's transaction."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.db import connection

OLD = "events_2019_03"


def execute(statement: str, values: Any = None) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        return cursor.fetchall() if cursor.description else []


def one(statement: str, values: Any = None) -> Any:
    return execute(statement, values)[0][0]


def fill(month: str, rows: int) -> None:
    """So many events of a month ("2019-03"), with details, one a minute; every tenth without."""
    execute(
        """
        WITH made AS (
            INSERT INTO events.events (kind, occurred_at, actor_kind, actor_id, agent_id, data)
            SELECT 't.old', %s::timestamptz + i * interval '1 minute', 'user', i::text,
                   CASE WHEN i %% 2 = 0 THEN gen_random_uuid() END,
                   jsonb_build_object('text', E'two\\nlines \\\\ "quoted" é', 'huge', 1e30 + 0.125 * i)
            FROM generate_series(1, %s) AS i
            RETURNING occurred_at, id
        )
        INSERT INTO events.event_details (occurred_at, event_id, actor_name, address)
        SELECT occurred_at, id, 'Ada', '203.0.113.9' FROM made WHERE id %% 10 <> 0
        """,
        [f"{month}-01 00:00+00", rows],
    )


def partitions() -> set[str]:
    return {
        name
        for (name,) in execute(
            "SELECT relid::regclass::text FROM pg_partition_tree('events.events') WHERE isleaf AND level = 1"
        )
    }


@pytest.fixture
def old_month(db: None) -> str:
    """A partition of March 2019 with 250 events, and one event of April in another."""
    execute("SELECT events.make_partition('2019-03-01'), events.make_partition('2019-04-01')")
    fill("2019-03", 250)
    fill("2019-04", 1)
    return OLD


@pytest.fixture
def archives(settings: Any, tmp_path: Path) -> Path:
    """The folder that archives are written to."""
    settings.ARC_DATA_DIR = tmp_path
    return tmp_path / "archives"


@pytest.fixture(autouse=True)
def pages_have_time(unhurried: None) -> None:
    """A busy machine is not the point here."""
