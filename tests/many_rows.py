"""A database of its own with as many memories as one likes, for tests and `make bench`."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connection

AGENTS = 20
#: Rows at the old end that are unlike the others: what must be found without walking through everything.
FEW = 3

# Without indexes, trigger and foreign keys a million rows take seconds; the indexes are made afterwards.
BARE = """
    SELECT format('DROP INDEX agents.%I', indexname) FROM pg_indexes
    WHERE schemaname = 'agents' AND tablename = 'memories' AND indexname LIKE 'idx_%'
    UNION ALL
    SELECT format('ALTER TABLE agents.memories DROP CONSTRAINT %I', conname) FROM pg_constraint
    WHERE conrelid = 'agents.memories'::regclass AND contype = 'f'
"""
INDEXES = """
    SELECT indexdef FROM pg_indexes
    WHERE schemaname = 'agents' AND tablename = 'memories' AND indexname LIKE 'idx_%'
"""
AGENT_ROWS = """
    INSERT INTO agents.agents (id, name, type)
    SELECT ('00000000-0000-4000-8000-' || lpad(i::text, 12, '0'))::uuid, 'agent ' || i, 'type ' || i %% 3
    FROM generate_series(0, %s) AS i
"""
# One row a second, so that order of time is order of i. The last agent has FEW rows, FEW rows failed,
# FEW have no time, FEW hold the rare word; every third holds the common one, every hundredth another.
MEMORY_ROWS = """
    INSERT INTO agents.memories (agent_id, content, metadata, created_at, embedding_state, embedding_model)
    SELECT
        ('00000000-0000-4000-8000-'
            || lpad((CASE WHEN i <= %(few)s THEN %(agents)s ELSE i %% %(agents)s END)::text, 12, '0'))::uuid,
        'handbook ' || i
            || CASE WHEN i %% 3 = 0 THEN ' lease' ELSE '' END
            || CASE WHEN i %% 100 = 0 THEN ' heartbeat' ELSE '' END
            || CASE WHEN i <= %(few)s THEN ' zebra' ELSE '' END,
        NULL,
        CASE WHEN i BETWEEN 11 AND 10 + %(few)s THEN NULL
             ELSE timestamptz '2020-01-01 00:00+00' + i * interval '1 second' END,
        CASE WHEN i BETWEEN 21 AND 20 + %(few)s THEN 'failed'
             WHEN i %% 50 = 1 THEN 'pending' ELSE 'embedded' END,
        'bench'
    FROM generate_series(1, %(rows)s) AS i
"""
LAST_AGENT = f"00000000-0000-4000-8000-{AGENTS:012}"
FIRST_AGENT = f"00000000-0000-4000-8000-{0:012}"


LEFT_OPEN = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE datname = %s AND usename = current_user AND backend_type = 'client backend'
"""


@contextmanager
def own_database(name: str) -> Iterator[None]:
    """Within it Django's default connection leads to a copy of its database, which is dropped afterwards."""
    usual = connection.settings_dict["NAME"]
    connection.close()
    with connection._nodb_cursor() as cursor:
        # What a thread of an earlier test left open would keep it from being a template.
        cursor.execute(LEFT_OPEN, [usual])
        cursor.execute(f'CREATE DATABASE "{name}" TEMPLATE "{usual}"')
    connection.settings_dict["NAME"] = name
    try:
        yield
    finally:
        connection.close()
        connection.settings_dict["NAME"] = usual
        with connection._nodb_cursor() as cursor:
            cursor.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


def fill(rows: int) -> float:
    """Empties the tables and fills them anew, with every index but that of vectors; takes so many seconds."""
    started = time.monotonic()
    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE agents.agents CASCADE")
        cursor.execute(INDEXES)
        indexes = [definition for (definition,) in cursor.fetchall() if "USING hnsw" not in definition]
        cursor.execute(BARE)
        for (statement,) in cursor.fetchall():
            cursor.execute(statement)
        cursor.execute("ALTER TABLE agents.memories SET UNLOGGED")
        cursor.execute("ALTER TABLE agents.memories DISABLE TRIGGER USER")
        cursor.execute(AGENT_ROWS, [AGENTS])
        cursor.execute(MEMORY_ROWS, {"few": FEW, "agents": AGENTS, "rows": rows})
        cursor.execute("SET maintenance_work_mem = '512MB'")
        for definition in indexes:
            cursor.execute(definition)
        cursor.execute("VACUUM ANALYZE agents.memories")
        cursor.execute("VACUUM ANALYZE agents.agents")
    return time.monotonic() - started


def blocks_of(statement: str) -> int:
    """Blocks of 8 kB that a SELECT touches, cached or not, as EXPLAIN (ANALYZE, BUFFERS) counts them."""
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {statement.replace('%', '%%')}", [])
        found: Any = cursor.fetchone()
    plan = (json.loads(found[0]) if isinstance(found[0], str) else found[0])[0]["Plan"]
    return int(plan["Shared Hit Blocks"]) + int(plan["Shared Read Blocks"])
