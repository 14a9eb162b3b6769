"""Rows of the default partition brought into partitions of their own months.

Events are append-only: a trigger refuses to DELETE them from the default partition, and none is deleted.
The rows are copied in chunks into new tables beside it, which holds up nobody; then one short transaction
puts the new tables in the place of the old default partition and drops that. Until then every event is read
from where it always was, so that a run may be killed anywhere: the copies are found and completed by the
next one. A copy never grows stale, since no event changes.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from django.db import connection, transaction
from psycopg import sql

from arcweb.database.partitions import catalog, locking, months
from arcweb.database.partitions.catalog import DEFAULT, SCHEMA
from arcweb.events import record
from arcweb.events.sentences import describe

describe("partition.default_moved", "moved {rows} event(s) of the default partition into {months} month(s)")

#: Rows in one chunk: some tens of milliseconds.
CHUNK = 5_000
#: Months made in one run; more are a service that makes up its times. The rest stay where they are.
MOST_MONTHS = 36
COPY = re.compile(r"moving_(\d{4}_\d{2}|default)")

# Times that no calendar of ours holds (infinity, years BC) stay in the default partition.
MONTHS = """
    SELECT (date_trunc('month', occurred_at AT TIME ZONE 'UTC') AT TIME ZONE 'UTC'), count(*)
    FROM ONLY events.events_default
    WHERE occurred_at >= '1970-01-01 00:00+00' AND occurred_at < '2200-01-01 00:00+00'
    GROUP BY 1 ORDER BY 1 DESC
"""
COPIES = """
    SELECT relname::text FROM pg_class
    WHERE relnamespace = 'events'::regnamespace AND relkind = 'r' AND NOT relispartition
      AND relname LIKE 'moving\\_%'
"""
COPY_CHUNK = """
    WITH chunk AS MATERIALIZED (
        SELECT {columns} FROM ONLY events.events_default
        WHERE {condition} AND (occurred_at, id) > (%s::timestamptz, %s)
        ORDER BY occurred_at, id LIMIT %s
    ), put AS (
        INSERT INTO {target} ({columns}) SELECT {columns} FROM chunk ON CONFLICT DO NOTHING
    )
    SELECT (SELECT count(*) FROM chunk), occurred_at::text, id
    FROM chunk ORDER BY occurred_at DESC, id DESC LIMIT 1
"""
COPY_LATE = """
    INSERT INTO {target} ({columns})
    SELECT {columns} FROM ONLY events.events_default AS late
    WHERE {condition} AND NOT EXISTS (
        SELECT FROM {target} AS copied WHERE copied.occurred_at = late.occurred_at AND copied.id = late.id)
"""
INDEXES = """
    SELECT indexed.relname::text FROM pg_index JOIN pg_class AS indexed ON indexed.oid = indexrelid
    WHERE indrelid = to_regclass(%s) AND indexed.relname LIKE %s
"""
FIRST = ("-infinity", -(2**63))


class MoveError(Exception):
    """Nothing was moved; the message is a sentence."""


@dataclass(frozen=True)
class Month:
    first: datetime
    rows: int

    @property
    def name(self) -> str:
        return f"events_{self.first:%Y_%m}"


@dataclass(frozen=True)
class Moved:
    rows: int
    months: int
    left: int  #: rows that stay in the default partition


@dataclass(frozen=True)
class _Target:
    """A table that takes the place of a part of the default partition; no month: of the rest."""

    copy: str
    final: str
    first: datetime | None = None
    until: datetime | None = None
    others: tuple[tuple[datetime, datetime], ...] = ()

    @property
    def table(self) -> sql.Identifier:
        return sql.Identifier(SCHEMA, self.copy)

    @property
    def condition(self) -> sql.Composable:
        inside = sql.SQL("(occurred_at >= {} AND occurred_at < {})")
        if self.first is not None and self.until is not None:
            return inside.format(sql.Literal(self.first), sql.Literal(self.until))
        if not self.others:
            return sql.SQL("true")
        ranges = [inside.format(sql.Literal(first), sql.Literal(until)) for first, until in self.others]
        return sql.SQL("NOT ({})").format(sql.SQL(" OR ").join(ranges))


def months_in_default() -> list[Month]:
    """The months whose events stand in the default partition, newest first; every row is looked at."""
    with connection.cursor() as cursor:
        cursor.execute(MONTHS)
        return [Month(*row) for row in cursor.fetchall()]


def move(tell: Callable[[int, int, str], None], wait: Callable[[float], None]) -> Moved:
    """Bring the rows of the default partition into their months. tell(done, total, words) may raise to stop.

    Raises MoveError, locking.Busy, django.db.Error, and what `tell` and `wait` raise: then nothing is changed
    that anybody reads.
    """
    chosen = months_in_default()[:MOST_MONTHS]
    ranges = tuple((month.first, months.plus(month.first, 1)) for month in chosen)
    targets = [
        _Target(f"moving_{month.first:%Y_%m}", month.name, *bounds)
        for month, bounds in zip(chosen, ranges, strict=True)
    ]
    rest = _Target("moving_default", DEFAULT, others=ranges)
    _prepare([*targets, rest])
    if not chosen:
        _forget([rest.copy])
        return Moved(0, 0, catalog.count(SCHEMA, DEFAULT))
    total, done = catalog.count(SCHEMA, DEFAULT), 0
    for target in [*targets, rest]:
        done = _copy(target, done, total, tell)
    tell(done, total, "waiting for a moment to put them in place")
    return locking.with_lock(lambda: _swap(targets, rest), wait, "put the new partitions in place")


def _prepare(targets: list[_Target]) -> None:
    """Makes the tables that are missing; drops copies that an earlier run left and this one does not need."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(locking.TURN)
        cursor.execute(COPIES)
        there = {name for (name,) in cursor.fetchall() if COPY.fullmatch(name)}
    _forget(sorted(there - {target.copy for target in targets}))
    for target in targets:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(locking.TURN)
            if target.first is not None:
                cursor.execute("SELECT to_regclass(%s) IS NOT NULL", [f"{SCHEMA}.{target.final}"])
                if cursor.fetchone()[0]:
                    raise MoveError(
                        f"A table {SCHEMA}.{target.final} stands there already and is no partition of "
                        "events.events. Rename it, or attach it where it belongs, then retry."
                    )
            if target.copy in there:
                continue
            cursor.execute(
                sql.SQL("CREATE TABLE IF NOT EXISTS {} (LIKE events.events INCLUDING ALL)").format(
                    target.table
                )
            )
            if target.first is not None:
                # What the bounds will say: with it, attaching reads no row.
                cursor.execute(
                    sql.SQL("ALTER TABLE {} ADD CONSTRAINT moving_bounds CHECK ({})").format(
                        target.table, target.condition
                    )
                )


def _forget(copies: list[str]) -> None:
    for name in copies:
        with connection.cursor() as cursor:
            cursor.execute(sql.SQL("DROP TABLE IF EXISTS {}").format(sql.Identifier(SCHEMA, name)))


def _columns() -> sql.Composable:
    return sql.SQL(", ").join(map(sql.Identifier, catalog.columns()))


def _copy(target: _Target, done: int, total: int, tell: Callable[[int, int, str], None]) -> int:
    statement = sql.SQL(COPY_CHUNK).format(
        columns=_columns(), condition=target.condition, target=target.table
    )
    place: tuple[str, int] = FIRST
    while True:
        with connection.cursor() as cursor:
            cursor.execute(statement, [*place, CHUNK])
            found = cursor.fetchone()
        if found is None:
            return done
        copied, *key = found
        place, done = (key[0], key[1]), done + copied
        tell(min(done, total), total, f"copying to {target.final}")
        if copied < CHUNK:
            return done


def _swap(targets: list[_Target], rest: _Target) -> Moved:
    """The new tables take their places. Everybody waits for it: a count of the rows, and what came late."""
    everything = [*targets, rest]
    _execute("LOCK TABLE events.events IN ACCESS EXCLUSIVE MODE")
    counts = {target.copy: catalog.count(SCHEMA, target.copy) for target in everything}
    total = catalog.count(SCHEMA, DEFAULT)
    if total != sum(counts.values()):
        for target in everything:
            _execute(COPY_LATE, columns=_columns(), target=target.table, condition=target.condition)
        counts = {target.copy: catalog.count(SCHEMA, target.copy) for target in everything}
    if total != sum(counts.values()):
        raise MoveError(
            f"The default partition holds {total:,} rows and its copies {sum(counts.values()):,}: somebody "
            "changed one of them by hand. Nothing was moved. DROP the tables events.moving_…, then retry."
        )
    moved = Moved(total - counts[rest.copy], len(targets), counts[rest.copy])
    _execute("ALTER TABLE events.events DETACH PARTITION events.events_default")
    _execute("DROP TABLE events.events_default")
    for target in everything:
        final = sql.Identifier(SCHEMA, target.final)
        _execute("ALTER TABLE {copy} RENAME TO {name}", copy=target.table, name=sql.Identifier(target.final))
        if target.first is None:
            _execute("ALTER TABLE events.events ATTACH PARTITION {final} DEFAULT", final=final)
        else:
            _execute(
                "ALTER TABLE events.events ATTACH PARTITION {final} FOR VALUES FROM ({first}) TO ({until})",
                final=final,
                first=sql.Literal(target.first),
                until=sql.Literal(target.until),
            )
            _execute("ALTER TABLE {final} DROP CONSTRAINT moving_bounds", final=final)
        # Attaching gives a partition the row trigger of its parent, not that of TRUNCATE.
        _execute(
            "CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON {final} "
            "FOR EACH STATEMENT EXECUTE FUNCTION events.refuse_change()",
            final=final,
        )
        _rename_indexes(target)
    record(
        "partition.default_moved",
        object_type="postgres.partition",
        object_id=DEFAULT,
        label=f"{SCHEMA}.{DEFAULT}",
        data={"rows": moved.rows, "months": moved.months, "left": moved.left},
    )
    return moved


def _rename_indexes(target: _Target) -> None:
    with connection.cursor() as cursor:
        cursor.execute(INDEXES, [f"{SCHEMA}.{target.final}", f"{target.copy}_%"])
        names = [name for (name,) in cursor.fetchall()]
    for name in names:
        _execute(
            "ALTER INDEX {index} RENAME TO {name}",
            index=sql.Identifier(SCHEMA, name),
            name=sql.Identifier(name.replace(target.copy, target.final, 1)),
        )


def _execute(statement: str, **parts: sql.Composable) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql.SQL(statement).format(**parts))
