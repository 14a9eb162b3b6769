"""Tables and their rows from one database into another."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import psycopg
from psycopg import sql

Connection = psycopg.Connection[Any]

OID = """
    SELECT c.oid::int8 FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
    WHERE (n.nspname, c.relname) = (%s, %s) AND c.relkind IN ('r', 'p')
"""
COLUMNS = """
    SELECT attname FROM pg_attribute
    WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped AND attgenerated = ''
    ORDER BY attnum
"""
DEMANDED = """
    SELECT attname FROM pg_attribute
    WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped AND attgenerated = ''
      AND attnotnull AND NOT atthasdef AND attidentity = ''
    ORDER BY attnum
"""
DEFINITION = """
    SELECT a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull,
           CASE WHEN a.attgenerated <> '' THEN pg_get_expr(d.adbin, d.adrelid) END
    FROM pg_attribute AS a LEFT JOIN pg_attrdef AS d ON (d.adrelid, d.adnum) = (a.attrelid, a.attnum)
    WHERE a.attrelid = %s AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum
"""
KEY = "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = %s AND contype = 'p'"


def oid(connection: Connection, schema: str, table: str) -> int | None:
    """The number of that table; None where there is none."""
    row = connection.execute(OID, [schema, table]).fetchone()
    return int(row[0]) if row else None


def columns(connection: Connection, table: sql.Identifier) -> list[str]:
    """Those that take values."""
    return [name for (name,) in connection.execute(COLUMNS, [table.as_string()])]


def demanded(connection: Connection, table: sql.Identifier) -> list[str]:
    """Those of them that every new row must be given."""
    return [name for (name,) in connection.execute(DEMANDED, [table.as_string()])]


def listed(names: Iterable[str]) -> sql.Composed:
    """With commas."""
    return sql.SQL(", ").join(map(sql.Identifier, names))


def stream(source: Connection, target: Connection, query: sql.Composable, table: sql.Identifier) -> int:
    """Rows of a table of `source` (or of a query in brackets) into a table of `target`; how many."""
    names = listed(columns(target, table))
    with (
        source.cursor().copy(sql.SQL("COPY (SELECT {} FROM {} AS t) TO STDOUT").format(names, query)) as out,
        target.cursor() as cursor,
    ):
        with cursor.copy(sql.SQL("COPY {} ({}) FROM STDIN").format(table, names)) as inward:
            for block in out:
                inward.write(block)
        return cursor.rowcount


def definition(source: Connection, schema: str, table: str, place: str) -> Iterator[sql.Composed]:
    """What makes an empty table of the same columns in the schema `place`."""
    parts = []
    for name, kind, filled, generated in source.execute(DEFINITION, [oid(source, schema, table)]).fetchall():
        part = sql.SQL("{} {}").format(sql.Identifier(name), sql.SQL(kind))
        if generated:
            part += sql.SQL(" GENERATED ALWAYS AS ({}) STORED").format(sql.SQL(generated))
        if filled:
            part += sql.SQL(" NOT NULL")
        parts.append(part)
    yield sql.SQL("CREATE TABLE {} ({})").format(sql.Identifier(place, table), sql.SQL(", ").join(parts))


def keys(source: Connection, schema: str, table: str, place: str) -> Iterator[sql.Composed]:
    """What gives it its primary key, after the rows went in."""
    for (text,) in source.execute(KEY, [oid(source, schema, table)]).fetchall():
        yield sql.SQL("ALTER TABLE {} ADD {}").format(sql.Identifier(place, table), sql.SQL(text))
