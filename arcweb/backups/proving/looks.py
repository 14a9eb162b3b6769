"""What a restored database has beside its rows, from PostgreSQL's catalog."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql

from arcweb.backups.content import OURS

Connection = psycopg.Connection[Any]

# The index of a partitioned table holds no row, and is valid once each partition has one attached: pg_dump
# brings it as it was, also while a new one is being made partition by partition.
OBJECTS = f"""
    SELECT (SELECT count(*) FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indrelid
            JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE {OURS}),
           (SELECT array_agg(i.indexrelid::regclass::text ORDER BY 1) FROM pg_index AS i
            JOIN pg_class AS c ON c.oid = i.indrelid JOIN pg_namespace AS n ON n.oid = c.relnamespace
            WHERE NOT (i.indisvalid AND i.indisready AND i.indislive) AND c.relkind <> 'p' AND {OURS}),
           (SELECT count(*) FROM pg_constraint AS k JOIN pg_class AS c ON c.oid = k.conrelid
            JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE {OURS}),
           (SELECT array_agg(k.conname::text ORDER BY 1) FROM pg_constraint AS k
            JOIN pg_class AS c ON c.oid = k.conrelid JOIN pg_namespace AS n ON n.oid = c.relnamespace
            WHERE NOT k.convalidated AND {OURS}),
           (SELECT count(*) FROM pg_attribute AS a JOIN pg_class AS c ON c.oid = a.attrelid
            JOIN pg_namespace AS n ON n.oid = c.relnamespace
            WHERE a.attgenerated <> '' AND NOT a.attisdropped AND c.relkind IN ('r', 'p') AND {OURS}),
           (SELECT count(*) FROM pg_trigger AS t JOIN pg_class AS c ON c.oid = t.tgrelid
            JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE NOT t.tgisinternal AND {OURS})
"""  # noqa: S608 - parts of this project alone
# A sequence feeds the column that owns it; where it stands below the column's greatest value, the next INSERT
# fails.
FEEDS = """
    SELECT n.nspname, s.relname, tn.nspname, t.relname, a.attname,
           pg_sequence_last_value(s.oid), q.seqincrement
    FROM pg_class AS s JOIN pg_namespace AS n ON n.oid = s.relnamespace
    JOIN pg_sequence AS q ON q.seqrelid = s.oid
    JOIN pg_depend AS d ON d.classid = 'pg_class'::regclass AND d.objid = s.oid
        AND d.refclassid = 'pg_class'::regclass AND d.refobjsubid > 0 AND d.deptype IN ('a', 'i')
    JOIN pg_class AS t ON t.oid = d.refobjid JOIN pg_namespace AS tn ON tn.oid = t.relnamespace
    JOIN pg_attribute AS a ON a.attrelid = t.oid AND a.attnum = d.refobjsubid
    WHERE s.relkind = 'S' AND n.nspname !~ '^pg_'
    ORDER BY 1, 2
"""
# The operator by which an index of pgvector orders its rows, and the expression that it holds.
VECTOR_INDEXES = """
    SELECT n.nspname, i.relname, tn.nspname, t.relname, am.amname, pg_get_indexdef(x.indexrelid, 1, false),
           pg_get_expr(x.indpred, x.indrelid), op.oprname, opn.nspname
    FROM pg_index AS x
    JOIN pg_class AS i ON i.oid = x.indexrelid JOIN pg_namespace AS n ON n.oid = i.relnamespace
    JOIN pg_class AS t ON t.oid = x.indrelid JOIN pg_namespace AS tn ON tn.oid = t.relnamespace
    JOIN pg_am AS am ON am.oid = i.relam
    JOIN pg_opclass AS oc ON oc.oid = x.indclass[0]
    JOIN pg_amop AS ao ON ao.amopfamily = oc.opcfamily AND ao.amoppurpose = 'o' AND ao.amopstrategy = 1
        AND ao.amoplefttype = oc.opcintype
    JOIN pg_operator AS op ON op.oid = ao.amopopr JOIN pg_namespace AS opn ON opn.oid = op.oprnamespace
    WHERE am.amname IN ('hnsw', 'ivfflat') AND x.indisvalid AND i.relkind = 'i'
    ORDER BY 1, 2
"""
NEIGHBOURS = """
    SELECT found.distance FROM (
        SELECT {expression} {operator} (
            SELECT {expression} FROM {table} WHERE {condition}
              AND ({expression} {operator} {expression}) <> 'NaN'::float8 LIMIT 1
        ) AS distance
        FROM {table} WHERE {condition} ORDER BY 1 LIMIT 10
    ) AS found
"""
#: An index that gives rows in its order, not one that only finds them.
USED = re.compile(r'Index Scan using ("(?:[^"]|"")+"|\S+) on .*\n +Order By:')
EXTENSIONS = "SELECT extname, extversion FROM pg_extension ORDER BY extname"


@dataclass(frozen=True)
class Objects:
    """invalid: indexes that PostgreSQL does not use. unproven: constraints that are NOT VALID."""

    indexes: int
    invalid: tuple[str, ...]
    constraints: int
    unproven: tuple[str, ...]
    generated: int
    triggers: int


@dataclass(frozen=True)
class Feed:
    """A sequence and the column that it feeds. last: None while it was never used."""

    sequence: tuple[str, str]
    table: tuple[str, str]
    column: str
    last: int | None
    greatest: int | None  #: in the column; of one that counts down: the smallest
    down: bool

    @property
    def behind(self) -> bool:
        if self.greatest is None:
            return False
        if self.last is None:
            return True
        return self.greatest < self.last if self.down else self.greatest > self.last


@dataclass(frozen=True)
class VectorIndex:
    schema: str
    name: str
    table: tuple[str, str]
    method: str
    expression: str
    predicate: str | None
    operator: tuple[str, str]

    def __str__(self) -> str:
        return f"{self.schema}.{self.name}"


def objects(connection: Connection) -> Objects:
    row = connection.execute(OBJECTS).fetchone()
    indexes, invalid, constraints, unproven, generated, triggers = row or (0, None, 0, None, 0, 0)
    return Objects(indexes, tuple(invalid or ()), constraints, tuple(unproven or ()), generated, triggers)


def feeds(connection: Connection) -> list[Feed]:
    found = []
    for place, name, *table, column, last, step in connection.execute(FEEDS).fetchall():
        ask = sql.SQL("SELECT {}({}) FROM {}").format(
            sql.SQL("min" if step < 0 else "max"), sql.Identifier(column), sql.Identifier(*table)
        )
        row = connection.execute(ask).fetchone()
        greatest = int(row[0]) if row and row[0] is not None else None
        found.append(Feed((place, name), (table[0], table[1]), column, last, greatest, step < 0))
    return found


def extensions(connection: Connection) -> dict[str, str]:
    return dict(connection.execute(EXTENSIONS).fetchall())


def vector_indexes(connection: Connection) -> list[VectorIndex]:
    """Those that hold rows by themselves; of a partitioned table, its partitions'."""
    return [
        VectorIndex(row[0], row[1], (row[2], row[3]), row[4], row[5], row[6], (row[8], row[7]))
        for row in connection.execute(VECTOR_INDEXES).fetchall()
    ]


def nearest(connection: Connection, index: VectorIndex) -> tuple[str, list[float]]:
    """The name of the index that PostgreSQL used ("": none), and the distances of the ten vectors nearest to
    one of that index; none where it holds no vector that has neighbours.

    In a transaction of its own in which PostgreSQL is kept from reading the table instead.
    """
    expression = sql.SQL(index.expression)  # the catalog's own words
    condition = sql.SQL("{} IS NOT NULL").format(expression)
    if index.predicate:
        condition = sql.SQL("{} AND ({})").format(condition, sql.SQL(index.predicate))
    statement = sql.SQL(NEIGHBOURS).format(
        expression=expression,
        operator=sql.SQL("OPERATOR({}.{})").format(
            sql.Identifier(index.operator[0]),
            sql.SQL(index.operator[1]),
        ),
        table=sql.Identifier(*index.table),
        condition=condition,
    )
    with connection.transaction():
        connection.execute("SET LOCAL enable_indexscan = on")  # somebody may have it off for the role
        connection.execute("SET LOCAL enable_seqscan = off")
        connection.execute("SET LOCAL enable_bitmapscan = off")
        connection.execute("SET LOCAL enable_sort = off")
        plan = "\n".join(line for (line,) in connection.execute(sql.SQL("EXPLAIN ") + statement).fetchall())
        distances = [float(distance) for (distance,) in connection.execute(statement).fetchall()]
    used = USED.search(plan)
    name = used[1] if used else ""
    if name.startswith('"'):
        name = name[1:-1].replace('""', '"')
    return name, [one for one in distances if not math.isnan(one)]
