"""Partitioned tables and their partitions, as PostgreSQL's catalog has them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise

from django.db import connection
from psycopg import sql

from arcweb.database.partitions import months
from arcweb.database.standing import quoted

#: The table of this project.
SCHEMA, NAME, DEFAULT = "events", "events", "events_default"
#: Partitions read at once; a page of more would be no page.
MOST = 2_000

# The bounds of a range over one column of time, as pg_get_expr writes them. Anything else (several columns,
# MINVALUE, infinity, years BC) has no `first` and `until`, and is shown by its words.
PARTITIONS = r"""
    SELECT parent_space.nspname, parent.relname, pg_get_partkeydef(parent.oid),
           child_space.nspname, child.relname, pg_get_expr(child.relpartbound, child.oid),
           child.oid = part.partdefid, link.inhdetachpending, now(),
           CASE WHEN timed THEN (bounds.found)[1]::timestamptz END,
           CASE WHEN timed THEN (bounds.found)[2]::timestamptz END,
           {rows}, {bytes}, child.relkind = 'p'
    FROM pg_partitioned_table AS part
    JOIN pg_class AS parent ON parent.oid = part.partrelid AND NOT parent.relispartition
    JOIN pg_namespace AS parent_space ON parent_space.oid = parent.relnamespace
    LEFT JOIN pg_inherits AS link ON link.inhparent = parent.oid
    LEFT JOIN pg_class AS child ON child.oid = link.inhrelid
    LEFT JOIN pg_namespace AS child_space ON child_space.oid = child.relnamespace
    LEFT JOIN LATERAL (
        SELECT regexp_match(
            pg_get_expr(child.relpartbound, child.oid),
            '^FOR VALUES FROM \(''(\d{{4}}-\d\d-\d\d[ 0-9:.+-]*)''\) '
            'TO \(''(\d{{4}}-\d\d-\d\d[ 0-9:.+-]*)''\)$'
        ) AS found
    ) AS bounds ON true
    LEFT JOIN LATERAL (
        SELECT atttypid IN ('date'::regtype, 'timestamp'::regtype, 'timestamptz'::regtype) AS timed
        FROM pg_attribute
        WHERE attrelid = parent.oid AND attnum = part.partattrs[0] AND part.partnatts = 1
    ) AS key ON true
    WHERE parent.relpersistence <> 't' AND parent_space.nspname !~ '^pg_'
      AND (%(schema)s::text IS NULL OR (parent_space.nspname, parent.relname) = (%(schema)s, %(table)s))
    ORDER BY parent_space.nspname, parent.relname, 10 NULLS LAST, child.relname
    LIMIT %(most)s
"""
# An estimate of the last ANALYZE or VACUUM; -1 is PostgreSQL's word for "never counted". No block, no row.
ROWS = """
    CASE WHEN child.relkind = 'p' THEN (
             SELECT CASE WHEN bool_or(leaf.reltuples < 0 AND pg_relation_size(leaf.oid) > 0) THEN NULL
                         ELSE sum(greatest(leaf.reltuples, 0)) END
             FROM pg_partition_tree(child.oid) AS tree
             JOIN pg_class AS leaf ON leaf.oid = tree.relid AND tree.isleaf)
         WHEN pg_relation_size(child.oid) = 0 THEN 0
         WHEN child.reltuples < 0 THEN NULL ELSE child.reltuples END::float8
"""
BYTES = """
    CASE WHEN child.relkind = 'p' THEN (
             SELECT sum(pg_total_relation_size(relid)) FROM pg_partition_tree(child.oid) WHERE isleaf)
         ELSE pg_total_relation_size(child.oid) END::bigint
"""


@dataclass(frozen=True)
class Partition:
    """`rows` is an estimate (None: never counted), `bytes` with indexes and TOAST (None: not asked)."""

    schema: str
    name: str
    bound: str  #: as PostgreSQL writes it
    default: bool
    detaching: bool
    first: datetime | None  #: of a range over one column of time: the first instant
    until: datetime | None  #: the first instant no longer in it
    rows: int | None
    bytes: int | None
    nested: bool = False  #: it has partitions of its own, which hold its rows

    @property
    def qualified(self) -> str:
        return f"{self.schema}.{self.name}"


@dataclass(frozen=True)
class Table:
    """A partitioned table that is no partition itself; its partitions in order of time."""

    schema: str
    name: str
    key: str  #: "RANGE (occurred_at)"
    now: datetime  #: the server's
    partitions: tuple[Partition, ...]

    @property
    def qualified(self) -> str:
        return f"{self.schema}.{self.name}"

    @property
    def ours(self) -> bool:
        return (self.schema, self.name) == (SCHEMA, NAME)

    @property
    def default(self) -> Partition | None:
        return next((one for one in self.partitions if one.default), None)

    @property
    def timed(self) -> tuple[Partition, ...]:
        """Those with bounds of time, oldest first."""
        return tuple(one for one in self.partitions if one.first is not None and one.until is not None)

    @property
    def bytes(self) -> int:
        return sum(one.bytes or 0 for one in self.partitions)

    @property
    def rows(self) -> int | None:
        counts = [one.rows for one in self.partitions]
        return None if None in counts else sum(count or 0 for count in counts)

    def covers(self, moment: datetime) -> bool:
        return any(one.first <= moment < one.until for one in self.timed if one.first and one.until)

    @property
    def step(self) -> timedelta | str | None:
        """What the newest three have in common: "month", a length, or None where they are not regular."""
        if self.ours:
            return "month"
        newest = self.timed[-3:]
        if len(newest) < 2 or any(before.until != after.first for before, after in pairwise(newest)):
            return None
        spans = [(one.first, one.until) for one in newest if one.first and one.until]
        if all(first == months.month_of(first) and until == months.plus(first, 1) for first, until in spans):
            return "month"
        lengths = {until - first for first, until in spans}
        return lengths.pop() if len(lengths) == 1 else None

    def after(self, moment: datetime) -> datetime | None:
        """One step later; None where steps are not regular."""
        step = self.step
        if step is None:
            return None
        return months.plus(months.month_of(moment), 1) if isinstance(step, str) else moment + step

    @property
    def ahead(self) -> int:
        """Whole steps after the present one that have partitions; -1: not even the present one has."""
        if not self.covers(self.now):
            return -1
        found, moment = 0, self.after(self.now)
        while moment is not None and self.covers(moment) and found < len(self.partitions):
            found, moment = found + 1, self.after(moment)
        return found

    def next_statement(self) -> str:
        """What makes the next partition, to be typed; "" where nobody can know."""
        if self.ours:
            return "SELECT events.ensure_partitions(3);"
        step, newest = self.step, self.timed[-1:]
        if (
            step is None
            or not newest
            or (first := newest[0].until) is None
            or (until := self.after(first)) is None
        ):
            return ""
        suffix = f"{first:%Y_%m}" if step == "month" else f"{first:%Y_%m_%d_%H%M}"
        return (
            f"CREATE TABLE {quoted(self.schema)}.{quoted(f'{self.name}_{suffix}')}\n"
            f"    PARTITION OF {quoted(self.schema)}.{quoted(self.name)}\n"
            f"    FOR VALUES FROM ('{first:%Y-%m-%d %H:%M:%S+00}') TO ('{until:%Y-%m-%d %H:%M:%S+00}');"
        )


def tables(*, sizes: bool = True) -> list[Table]:
    """Every partitioned table, in one query; without sizes and rows where only bounds are wanted."""
    return _read(None, None, sizes=sizes)


def events_table(*, sizes: bool = True) -> Table | None:
    """events.events, or None where the migrations of events are not applied."""
    return next(iter(_read(SCHEMA, NAME, sizes=sizes)), None)


def find(name: str) -> Partition | None:
    """The partition of events.events of that name, by now."""
    table = events_table()
    return next((one for one in table.partitions if one.name == name), None) if table else None


def exact_rows(partition: Partition) -> int:
    """Every row counted: seconds for tens of millions."""
    return count(partition.schema, partition.name)


def count(schema: str, name: str) -> int:
    with connection.cursor() as cursor:
        cursor.execute(sql.SQL("SELECT count(*) FROM ONLY {}").format(sql.Identifier(schema, name)))
        return int(cursor.fetchone()[0])


def default_is_empty() -> bool:
    """One look, however many rows there are."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT NOT EXISTS (SELECT FROM events.events_default)")
        return bool(cursor.fetchone()[0])


def columns(schema: str = SCHEMA, name: str = NAME) -> list[str]:
    """The columns of a table in their order."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT attname::text FROM pg_attribute WHERE attrelid = to_regclass(format('%%I.%%I', "
            "%s::text, %s::text)) AND attnum > 0 AND NOT attisdropped ORDER BY attnum",
            [schema, name],
        )
        return [column for (column,) in cursor.fetchall()]


def _read(schema: str | None, table: str | None, *, sizes: bool) -> list[Table]:
    statement = PARTITIONS.format(
        rows=ROWS if sizes else "NULL::float8", bytes=BYTES if sizes else "NULL::bigint"
    )
    found: dict[tuple[str, str], tuple[str, datetime, list[Partition]]] = {}
    with connection.cursor() as cursor:
        cursor.execute(statement, {"schema": schema, "table": table, "most": MOST})
        for (
            space,
            name,
            key,
            own_space,
            own,
            bound,
            default,
            detaching,
            now,
            first,
            until,
            rows,
            size,
            nested,
        ) in cursor.fetchall():
            _, _, several = found.setdefault((space, name), (key, now, []))
            if own is not None:
                estimate = None if rows is None else round(rows)
                several.append(
                    Partition(
                        own_space,
                        own,
                        bound or "",
                        bool(default),
                        bool(detaching),
                        first,
                        until,
                        estimate,
                        size,
                        bool(nested),
                    )
                )
    return [Table(*place, key, now, tuple(several)) for place, (key, now, several) in found.items()]
