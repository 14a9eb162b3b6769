"""What a database holds, as counts and hashes that are the same after a restore on another server. No Django.

A row's hash is sha256 over the text of its columns, in the order of their names; a table's is the sum of its
rows' hashes modulo 2^256, so that neither the order of rows nor that of columns matters and nothing has to be
sorted or kept. The sum shows damage and loss; against somebody who may write both table and manifest it
proves nothing, as no hash beside the data would.

Vectors count as sha256 of their binary form (`vector_send`): their text takes three times as long to make.
Every other type counts as its text, with all that text depends on set for the transaction.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import psycopg
from psycopg import sql

from arcweb.backups.manifest import Sequence, Table

#: Of this way of hashing; hashes of different versions are not compared.
VERSION = "1"
LARGE_OBJECTS = ("pg_catalog", "pg_largeobject")
#: Names of pgvector's types that have a binary form of their own.
VECTORS = ("vector", "halfvec", "sparsevec")

#: What the text of a value depends on.
SETTINGS = {
    "search_path": "",
    "DateStyle": "ISO, YMD",
    "IntervalStyle": "postgres",
    "TimeZone": "UTC",
    "bytea_output": "hex",
    "extra_float_digits": "1",
    "lc_monetary": "C",
    "xmloption": "content",
    "row_security": "off",  # rows that a policy hides are an error, not missing
    "statement_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    "max_parallel_workers_per_gather": "0",  # a backup takes one core, not all
    "jit": "off",
}
#: Tables with rows of their own that belong to no extension; partitions one by one.
TABLES = """
    SELECT c.oid, n.nspname, c.relname,
           (SELECT pn.nspname || '.' || p.relname
            FROM pg_inherits AS i JOIN pg_class AS p ON p.oid = i.inhparent
            JOIN pg_namespace AS pn ON pn.oid = p.relnamespace
            WHERE i.inhrelid = c.oid AND c.relispartition)
    FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
    WHERE c.relkind = 'r' AND {ours} AND (%(schema)s = '' OR n.nspname = %(schema)s)
    ORDER BY n.nspname COLLATE "C", c.relname COLLATE "C"
"""
SEQUENCES = """
    SELECT n.nspname, c.relname, pg_sequence_last_value(c.oid)
    FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
    WHERE c.relkind = 'S' AND {ours} AND (%(schema)s = '' OR n.nspname = %(schema)s)
    ORDER BY n.nspname COLLATE "C", c.relname COLLATE "C"
"""
OURS = """
    c.relpersistence <> 't' AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
    AND NOT EXISTS (SELECT FROM pg_depend AS d
                    WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
"""
COLUMNS = """
    SELECT a.attname, sn.nspname, s.proname,
           t.typname = ANY (%(vectors)s) AND EXISTS (
               SELECT FROM pg_depend AS d JOIN pg_extension AS e ON e.oid = d.refobjid
               WHERE d.classid = 'pg_type'::regclass AND d.objid = t.oid AND d.deptype = 'e'
                 AND d.refclassid = 'pg_extension'::regclass AND e.extname = 'vector')
    FROM pg_attribute AS a JOIN pg_type AS t ON t.oid = a.atttypid
    JOIN pg_proc AS s ON s.oid = t.typsend JOIN pg_namespace AS sn ON sn.oid = s.pronamespace
    WHERE a.attrelid = %(table)s AND a.attnum > 0 AND NOT a.attisdropped
    UNION ALL
    SELECT a.attname, '', '', false
    FROM pg_attribute AS a JOIN pg_type AS t ON t.oid = a.atttypid
    WHERE a.attrelid = %(table)s AND a.attnum > 0 AND NOT a.attisdropped AND t.typsend = 0
    ORDER BY 1
"""
DIGESTS = (
    "COPY (SELECT sha256(convert_to(ROW({columns})::text, 'UTF8')) FROM ONLY {table}{where}) "
    "TO STDOUT (FORMAT BINARY)"
)
LARGE_OBJECT_DIGESTS = """
    COPY (SELECT sha256(convert_to(ROW(oid, sha256(lo_get(oid)))::text, 'UTF8')) FROM pg_largeobject_metadata)
    TO STDOUT (FORMAT BINARY)
"""

# COPY's binary format: a header of 19 bytes, for each row two bytes of columns and four of length before the
# value, and two bytes at the end (https://www.postgresql.org/docs/current/sql-copy.html).
HEADER, ROW = 19, 38
DIGEST = np.dtype([("head", "V6"), ("words", ">u4", 8)])
#: Rows that are added at once.
BATCH = 16_384
MODULUS = 1 << 256

#: Tables done, tables in all, rows of the present one so far, its name. May raise to stop the work.
Progress = Callable[[int, int, int, str], None]
Connection = psycopg.Connection[Any]


@dataclass(frozen=True)
class Relation:
    oid: int
    schema: str
    name: str
    parent: str = ""

    @property
    def qualified(self) -> str:
        return f"{self.schema}.{self.name}"


@dataclass(frozen=True)
class Content:
    tables: list[Table] = field(default_factory=list)
    sequences: list[Sequence] = field(default_factory=list)

    @property
    def rows(self) -> int:
        return sum(table.rows for table in self.tables)


def nothing(done: int, total: int, rows: int, name: str) -> None:
    """Progress that nobody looks at."""


def look(
    connection: Connection,
    *,
    schema: str = "",
    only: Mapping[int, sql.Composable] | None = None,
    progress: Progress = nothing,
) -> Content:
    """Everything in the connection's database, or in one schema of it, in the transaction's snapshot.

    Outside of a transaction one is made; inside of one nothing is left of the settings made here. only:
    tables by oid with the condition that chooses their rows; others are left out then. Sequences stand
    outside of any snapshot: a value may be newer than it, never older. Raises psycopg.Error, and what
    `progress` raises.
    """
    with connection.transaction(force_rollback=True):  # the settings go
        prepare(connection)
        found = [one for one in relations(connection, schema) if only is None or one.oid in only]
        last = sequences(connection, schema) if only is None else []
        tables = []
        for done, table in enumerate(found):

            def said(rows: int, done: int = done, name: str = table.qualified) -> None:
                progress(done, len(found), rows, name)

            rows, sha256 = digest(connection, table, only[table.oid] if only else None, said)
            tables.append(Table(table.schema, table.name, rows, sha256, table.parent))
        if not schema and only is None:
            rows, sha256 = _sum(connection, sql.SQL(LARGE_OBJECT_DIGESTS), lambda rows: None)
            if rows:
                tables.append(Table(*LARGE_OBJECTS, rows, sha256))
    return Content(tables, last)


def prepare(connection: Connection) -> None:
    """Sets, for the present transaction, all that the text of a value depends on."""
    for name, value in SETTINGS.items():
        connection.execute("SELECT set_config(%s, %s, true)", [name, value])
    if connection.info.server_version >= 170000:
        connection.execute("SET LOCAL transaction_timeout = 0")


def relations(connection: Connection, schema: str = "") -> list[Relation]:
    """The tables that have rows of their own and belong to no extension, by name."""
    cursor = connection.execute(TABLES.format(ours=OURS), {"schema": schema})
    return [Relation(oid, place, name, parent or "") for oid, place, name, parent in cursor]


def sequences(connection: Connection, schema: str = "") -> list[Sequence]:
    cursor = connection.execute(SEQUENCES.format(ours=OURS), {"schema": schema})
    return [Sequence(place, name, last) for place, name, last in cursor]


def digest(
    connection: Connection,
    table: Relation,
    where: sql.Composable | None = None,
    progress: Callable[[int], None] = lambda rows: None,
) -> tuple[int, str]:
    """Count and hash of the rows of that table alone, without its partitions; call `prepare` before."""
    columns = connection.execute(COLUMNS, {"table": table.oid, "vectors": list(VECTORS)}).fetchall()
    values = [
        sql.SQL("sha256({}({}))").format(sql.Identifier(place, send), sql.Identifier(name))
        if is_vector
        else sql.Identifier(name)
        for name, place, send, is_vector in columns
    ]
    statement = sql.SQL(DIGESTS).format(
        columns=sql.SQL(", ").join(values),
        table=sql.Identifier(table.schema, table.name),
        where=sql.SQL(" WHERE {}").format(where) if where is not None else sql.SQL(""),
    )
    return _sum(connection, statement, progress)


def _sum(
    connection: Connection, statement: sql.SQL | sql.Composed, progress: Callable[[int], None]
) -> tuple[int, str]:
    total, rows, waiting = 0, 0, bytearray()
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        for block in copy:
            waiting += block
            if len(waiting) >= HEADER + BATCH * ROW:
                start = 0 if rows else HEADER
                count = (len(waiting) - start) // ROW
                total += _added(waiting, start, count)
                rows += count
                del waiting[: start + count * ROW]
                progress(rows)
    start = 0 if rows else HEADER
    count = (len(waiting) - start) // ROW
    total += _added(waiting, start, count)
    rows += count
    progress(rows)
    return rows, f"{total % MODULUS:064x}"


def _added(data: bytearray, start: int, count: int) -> int:
    """The sum of so many digests, as one number."""
    if not count:
        return 0
    words = np.frombuffer(bytes(data[start : start + count * ROW]), DIGEST)["words"]
    sums = words.astype(np.uint64).sum(axis=0)
    return sum(int(value) << (32 * (7 - place)) for place, value in enumerate(sums))
