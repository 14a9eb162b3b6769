"""The handbook's four statements for psql, asked as they stand there: the page has the same numbers."""

from __future__ import annotations

from dataclasses import dataclass

from django.db import DEFAULT_DB_ALIAS, connections

from arcweb.database.standing import standing

SESSIONS = "SELECT count(*) FROM pg_stat_activity;"
SIZE = "SELECT pg_size_pretty(pg_database_size('{database}'));"
# Without a single read psql answers "division by zero", which NULLIF keeps from the page's transaction.
HIT_RATIO = """SELECT
    sum(heap_blks_hit) / (sum(heap_blks_hit) + sum(heap_blks_read)) as cache_hit_ratio
FROM pg_statio_user_tables;"""
ACTIVE = """SELECT pid, now() - query_start as duration, query
FROM pg_stat_activity
WHERE state = 'active';"""
ASK = """
    SELECT (SELECT count(*) FROM pg_stat_activity),
           pg_size_pretty(pg_database_size(current_database())),
           (SELECT sum(heap_blks_hit) / nullif(sum(heap_blks_hit) + sum(heap_blks_read), 0)
            FROM pg_statio_user_tables),
           (SELECT count(*) FROM pg_stat_activity WHERE state = 'active'),
           current_database()::text
"""


@dataclass(frozen=True)
class Typed:
    """A statement to type, and its answer just now. `shown_as`: where the page has it."""

    title: str
    statement: str
    answer: str
    shown_as: str


def by_hand(using: str = DEFAULT_DB_ALIAS) -> list[Typed]:
    """All four, in one statement. Raises django.db.Error."""
    with connections[using].cursor() as cursor:
        cursor.execute(ASK)
        sessions, size, share, active, database = cursor.fetchone()
    partly = "" if not standing(using).why_not("activity") else ", of this role alone"
    return [
        Typed("Connection count", SESSIONS, f"{sessions}", "Connections: all processes"),
        Typed("Database size", SIZE.format(database=database.replace("'", "''")), size, "Size: database"),
        Typed(
            "Cache hit ratio",
            HIT_RATIO,
            "division by zero: nothing was read yet" if share is None else f"{share}",
            "Work: table hit ratio",
        ),
        Typed(
            "Active queries",
            ACTIVE,
            f"{active} {'row' if active == 1 else 'rows'}{partly}",
            "Connections: active queries",
        ),
    ]
