"""What the server has had to do lately, from the samples and the catalogs."""

from __future__ import annotations

from datetime import timedelta

from django.db import connection

from arcweb.database.tuning.rules import Load
from arcweb.samples.series import rates

WEEK = timedelta(days=7)
PEAK = """
    SELECT max((values ->> 'connections')::float8) FROM samples_sample
    WHERE source = 'postgres' AND taken_at > statement_timestamp() - interval '7 days'
"""
LEVELS = """
    SELECT (SELECT max(reltuples)::float8 FROM pg_class WHERE relkind = 'r'),
           (SELECT 100.0 * blks_hit / nullif(blks_hit + blks_read, 0)
            FROM pg_stat_database WHERE datname = current_database())::float8
"""


def peak_connections() -> int | None:
    """The most clients that a sample of the last week saw; None without samples."""
    with connection.cursor() as cursor:
        cursor.execute(PEAK)
        (peak,) = cursor.fetchone()
    return None if peak is None else int(peak)


def sessions() -> int:
    """Clients that are connected now."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT sum(numbackends)::int FROM pg_stat_database")
        return int(cursor.fetchone()[0] or 0)


def load() -> Load:
    """Of the last week, as far as it is known."""
    with connection.cursor() as cursor:
        cursor.execute(LEVELS)
        largest, hits = cursor.fetchone()
    courses = rates("postgres", ["wal_bytes", "temp_bytes"], WEEK, 168)
    wal = [value for _, value in courses["wal_bytes"] if value is not None]
    temp = [value for _, value in courses["temp_bytes"] if value is not None]
    return Load(
        peak_connections=peak_connections(),
        wal_per_second=max(wal, default=None),
        temp_per_day=86400 * sum(temp) / len(temp) if temp else None,
        largest_table=largest if largest is not None and largest >= 0 else None,
        hit_share=hits,
    )
