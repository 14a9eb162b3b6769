"""What a restored database has and live has not, and the other way round: shown before anybody confirms."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import psycopg
from psycopg import sql

from arcweb.backups import content

#: Columns that tell when a row came, the first that a table has.
TIMES = (
    "created_at",
    "occurred_at",
    "taken_at",
    "queued_at",
    "fired_at",
    "date_joined",
    "updated_at",
    "applied",
    "changed_at",
    "action_time",
)
#: Milliseconds that one look at a live table may take; then its rows are an estimate.
COUNTING = 5000
#: Names of agents that are shown of either side.
MOST_NAMED = 20
COLUMNS = """
    SELECT attname FROM pg_attribute
    WHERE attrelid = %s AND attname = ANY(%s) AND atttypid = 'timestamptz'::regtype AND NOT attisdropped
"""
ESTIMATE = "SELECT greatest(reltuples, 0)::int8 FROM pg_class WHERE oid = %s"
Connection = psycopg.Connection[Any]


@dataclass(frozen=True)
class Rows:
    """newest: time of the newest row (UTC), "" where no column tells. exact: counted, not estimated."""

    count: int
    newest: str = ""
    exact: bool = True


@dataclass(frozen=True)
class Difference:
    """One table; None: the side has no such table."""

    table: str
    live: Rows | None
    new: Rows | None

    @property
    def differs(self) -> bool:
        return self.live != self.new

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def compare(live: Connection, new: Connection) -> list[Difference]:
    """Every table of either, those that differ first. Reads only. Raises psycopg.Error."""
    sides = [_tables(connection) for connection in (live, new)]
    found = []
    for name in sorted({*sides[0], *sides[1]}):
        one, two = (
            _rows(connection, side[name]) if name in side else None
            for connection, side in zip((live, new), sides, strict=True)
        )
        found.append(Difference(name, one, two))
    return sorted(found, key=lambda one: (not one.differs, one.table))


def agents(live: Connection, new: Connection) -> dict[str, list[str]]:
    """Names of agents that come back, and of those that are lost: at most MOST_NAMED of each."""
    ids = []
    for connection in (live, new):
        if not (connection.execute("SELECT to_regclass('agents.agents') IS NOT NULL").fetchone() or [0])[0]:
            return {}
        ids.append(dict(connection.execute("SELECT id, name FROM agents.agents").fetchall()))
    there, here = ids
    return {
        "return": sorted(name for id_, name in here.items() if id_ not in there)[:MOST_NAMED],
        "lost": sorted(name for id_, name in there.items() if id_ not in here)[:MOST_NAMED],
    }


def _tables(connection: Connection) -> dict[str, content.Relation]:
    """By name; partitions count as the one table that they make up."""
    found: dict[str, content.Relation] = {}
    for one in content.relations(connection):
        name = one.parent or one.qualified
        schema, _, table = name.partition(".")
        found.setdefault(name, content.Relation(one.oid, schema, table))
    return found


def _rows(connection: Connection, table: content.Relation) -> Rows:
    columns = {name for (name,) in connection.execute(COLUMNS, [table.oid, list(TIMES)])}
    column = next((name for name in TIMES if name in columns), None)
    newest = (
        sql.SQL("max({}) FILTER (WHERE isfinite({}))::timestamptz").format(*[sql.Identifier(column)] * 2)
        if column
        else sql.SQL("NULL::timestamptz")
    )
    query = sql.SQL("SELECT count(*), to_char({} AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS') FROM {}")
    try:
        with connection.transaction():
            connection.execute(f"SET LOCAL statement_timeout = {COUNTING}")
            row = connection.execute(
                query.format(newest, sql.Identifier(table.schema, table.name))
            ).fetchone()
        return Rows(int(row[0]), row[1] or "") if row else Rows(0)
    except psycopg.errors.QueryCanceled:
        row = connection.execute(ESTIMATE, [table.oid]).fetchone()
        return Rows(int(row[0]) if row else 0, exact=False)
