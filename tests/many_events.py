"""As many events as one likes over several months, for tests and `make bench`, in a database of their own.

See `tests.many_rows.own_database`.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from urllib.parse import urlencode

from django.db import connection
from django.urls import reverse

#: Months of events, the present one included.
MONTHS = 6
AGENTS, ACTORS = 20, 10
#: The oldest events, which are unlike all others: what must be found without walking through everything.
FEW = 3
FIRST_AGENT = f"00000000-0000-4000-8000-{0:012}"
LAST_AGENT = f"00000000-0000-4000-8000-{AGENTS:012}"

PARTITIONS = """
    SELECT events.make_partition(month::date)
    FROM date_trunc('month', now() AT TIME ZONE 'UTC') AS present,
         generate_series(1, %s - 1) AS before,
         LATERAL (SELECT present - make_interval(months => before)) AS t (month)
    WHERE to_regclass('events.events_' || to_char(month, 'YYYY_MM')) IS NULL
"""
# The two tables' indexes but their primary keys; making them afterwards is faster.
INDEXES = """
    SELECT indexrelid::regclass::text, pg_get_indexdef(indexrelid) FROM pg_index
    WHERE indrelid IN ('events.events'::regclass, 'events.event_details'::regclass) AND NOT indisprimary
"""
# Of 10 events 6 are of one kind and 3 of another; every agent and actor has each of these. FEW are of a rare
# kind, FEW of a rare actor, FEW of a rare agent, and FEW of the first actor are of a kind that many others of
# whom are.
EVENTS = """
    INSERT INTO events.events
        (id, occurred_at, kind, actor_kind, actor_id, object_type, object_id, agent_id, data)
    SELECT i, first + (now() - first) * (i / (%(rows)s + 1.0)),
        CASE WHEN i <= %(few)s THEN 'rare.kind'
             WHEN i BETWEEN 11 AND 10 + %(few)s THEN 'auth.logout'
             WHEN i %% 10 < 6 THEN 'memory.embedded' WHEN i %% 10 < 9 THEN 'agent.changed'
             WHEN i / 10 %% 10 <> 0 THEN 'auth.logout' ELSE 'auth.login' END,
        CASE WHEN i %% 3 = 0 THEN 'user' ELSE 'service' END,
        CASE WHEN i BETWEEN 31 AND 30 + %(few)s THEN 'rare' WHEN i BETWEEN 11 AND 10 + %(few)s THEN '0'
             WHEN i / 10 %% 10 <> 0 AND i %% 10 = 9 THEN '1' ELSE (i / 100 %% %(actors)s)::text END,
        CASE WHEN i %% 10 < 9 THEN 'agents.agent' ELSE '' END,
        CASE WHEN i %% 10 < 9 THEN (i %% 400 / 10)::text ELSE '' END,
        CASE WHEN i BETWEEN 51 AND 50 + %(few)s THEN %(last)s::uuid
             WHEN i %% 10 < 9
             THEN ('00000000-0000-4000-8000-' || lpad((i / 10 %% %(agents)s)::text, 12, '0'))::uuid END,
        '{}'
    FROM generate_series(1, %(rows)s) AS i,
         (SELECT (date_trunc('month', now() AT TIME ZONE 'UTC') - make_interval(months => %(months)s - 1))
                 AT TIME ZONE 'UTC') AS t (first)
"""
DETAILS = """
    INSERT INTO events.event_details (occurred_at, event_id, actor_name, label)
    SELECT occurred_at, id, CASE WHEN actor_id = 'rare' THEN 'Zoe' ELSE 'person ' || actor_id END,
           CASE WHEN object_id <> '' THEN 'Scout ' || object_id ELSE '' END
    FROM events.events
"""


def fill(rows: int) -> float:
    """Makes the events anew, in a database of their own; takes so many seconds."""
    started = time.monotonic()
    values = {
        "rows": rows,
        "few": FEW,
        "actors": ACTORS,
        "agents": AGENTS,
        "last": LAST_AGENT,
        "months": MONTHS,
    }
    with connection.cursor() as cursor:
        cursor.execute(PARTITIONS, [MONTHS])
        cursor.execute("SELECT relid::regclass::text FROM pg_partition_tree('events.events') WHERE isleaf")
        leaves = [name for (name,) in cursor.fetchall()]
        for name in leaves:
            cursor.execute(f"ALTER TABLE {name} DISABLE TRIGGER USER")
            cursor.execute(f"TRUNCATE {name}")
            cursor.execute(f"ALTER TABLE {name} ENABLE TRIGGER USER")
            cursor.execute(f"ALTER TABLE {name} SET UNLOGGED")
        cursor.execute("TRUNCATE events.event_details")
        cursor.execute("ALTER TABLE events.event_details SET UNLOGGED")
        cursor.execute(INDEXES)
        indexes = cursor.fetchall()
        for name, _ in indexes:
            cursor.execute(f"DROP INDEX {name}")
        cursor.execute("SET synchronous_commit = off")
        cursor.execute(EVENTS, values)
        cursor.execute(DETAILS)
        cursor.execute("SET maintenance_work_mem = '512MB'")
        for _, definition in indexes:
            cursor.execute(definition.replace(" ON ONLY ", " ON "))
        cursor.execute("VACUUM ANALYZE events.events")
        cursor.execute("VACUUM ANALYZE events.event_details")
    return time.monotonic() - started


#: What people ask of the timeline, by what the tables call it.
QUESTIONS: dict[str, dict[str, str]] = {
    "the newest": {},
    "a common kind": {"kind": "memory.embedded"},
    "a rare kind": {"kind": "rare.kind"},
    "several kinds": {"kind": "auth."},
    "an agent": {"agent": FIRST_AGENT},
    "an agent of three events": {"agent": LAST_AGENT},
    "a kind of an agent": {"agent": FIRST_AGENT, "kind": "agent.changed"},
    "a kind that an agent has not": {"agent": FIRST_AGENT, "kind": "rare.kind"},
    "several kinds of an agent": {"agent": FIRST_AGENT, "kind": "auth."},
    "an actor": {"actor": "1"},
    "a kind that an actor has thrice": {"actor": "0", "kind": "auth.logout"},
    "an actor by name": {"actor": "person 1"},
    "several actors by name": {"actor": "person"},
    "an actor of three events by name": {"actor": "zoe"},
    "a name that nobody has": {"actor": "xerxes"},
    "an object": {"object": "agents.agent/3"},
    "objects by name": {"object": "scout 3"},
    "a day long ago": {"first": "2020-01-01", "last": "2020-01-01"},
}


def addresses(rows: int) -> Iterator[tuple[str, str]]:
    """Each question, and the middle of the timeline, as pages of these events."""
    url = reverse("admin:events")
    for name, question in QUESTIONS.items():
        yield name, f"{url}?{urlencode(question)}"
    with connection.cursor() as cursor:
        cursor.execute("SELECT occurred_at, id FROM events.events WHERE id = %s", [rows // 2])
        moment, key = cursor.fetchone()
    place = f"{moment.isoformat()}~{key}"
    for name in ("the newest", "several kinds", "an agent"):
        yield f"{name}, deep", f"{url}?{urlencode({'older': place, **QUESTIONS[name]})}"
        yield f"{name}, backwards", f"{url}?{urlencode({'newer': place, **QUESTIONS[name]})}"
