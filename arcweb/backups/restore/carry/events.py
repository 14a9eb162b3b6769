"""Audit events written after the copy: append-only in the one database, appended in the other."""

from __future__ import annotations

from psycopg import sql

from arcweb.backups.restore.carry.copying import Both, names

#: An event bears the time at which its transaction began: it may have been committed after the copy's
#: moment with a time before it.
MARGIN = "1 day"
MISSING = """
    NOT EXISTS (SELECT FROM {table} AS known WHERE (known.occurred_at, known.{id}) = (c.occurred_at, c.{id}))
"""
#: Partitions were made ahead of the copy's time, not of ours.
MONTHS = """
    SELECT events.make_partition(month::date)
    FROM (SELECT DISTINCT date_trunc('month', occurred_at AT TIME ZONE 'UTC') AS month
          FROM pg_temp.carried_events WHERE occurred_at > %s::timestamptz - interval '1 day'
            AND isfinite(occurred_at)) AS months
    WHERE to_regclass('events.events_' || to_char(month, 'YYYY_MM')) IS NULL
      AND NOT EXISTS (SELECT FROM events.events_default AS stray
                      WHERE stray.occurred_at >= month AT TIME ZONE 'UTC'
                        AND stray.occurred_at < (month + interval '1 month') AT TIME ZONE 'UTC')
"""
#: Names and addresses that live had erased.
ERASED = """
    DELETE FROM events.event_details AS detail USING pg_temp.erased_details AS erased
    WHERE (detail.occurred_at, detail.event_id) = (erased.occurred_at, erased.id)
"""


def carry(both: Both, taken_at: str) -> list[str]:
    if not both.has("events.events"):
        return []
    row = both.new.execute("SELECT coalesce(max(id), 0) FROM events.events").fetchone()
    newest = int(row[0]) if row else 0
    since = sql.SQL("t.occurred_at >= {}::timestamptz - interval {}").format(
        sql.Literal(taken_at), sql.Literal(MARGIN)
    )
    if both.related:
        # Services may give an event a time of their own: then only its number is new.
        wanted = sql.SQL("({} OR t.id > {})").format(since, sql.Literal(newest))
    else:
        wanted = sql.SQL("true").format()
    both.bring("events.events", "carried_events", wanted)
    both.new.execute("SELECT events.ensure_partitions(3)")
    both.new.execute(MONTHS, [taken_at])
    carried = _append(both, "events.events", "carried_events", "id")
    if both.has("events.event_details"):
        of_those = since if both.related else sql.SQL("true")
        if both.related:
            of_those = sql.SQL("({} OR t.event_id > {})").format(since, sql.Literal(newest))
        both.bring("events.event_details", "carried_details", of_those)
        _append(both, "events.event_details", "carried_details", "event_id")
        if both.related:
            both.bring(
                "events.events",
                "erased_details",
                sql.SQL(
                    "NOT EXISTS (SELECT FROM events.event_details AS detail WHERE "
                    "(detail.occurred_at, detail.event_id) = (t.occurred_at, t.id))"
                ),
            )
            both.do(ERASED)
    both.do(
        "SELECT setval('events.events_id_seq', greatest((SELECT max(id) FROM events.events), "
        "(SELECT last_value FROM events.events_id_seq), 1))"
    )
    return [f"{carried} audit event{'' if carried == 1 else 's'} newer than the copy carried over."]


def _append(both: Both, table: str, carried: str, id_: str) -> int:
    columns = both.columns(table)
    missing = sql.SQL(MISSING).format(table=sql.Identifier(*table.split(".")), id=sql.Identifier(id_))
    return both.do(
        sql.SQL("INSERT INTO {} ({}) SELECT {} FROM {} AS c WHERE {}").format(
            sql.Identifier(*table.split(".")),
            names(columns),
            names(columns, "c"),
            sql.Identifier("pg_temp", carried),
            missing,
        )
    )
