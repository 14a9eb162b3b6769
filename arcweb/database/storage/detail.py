"""What is known of one table beyond its line in the list: columns by size, bloat, its parameters."""

from __future__ import annotations

from dataclasses import dataclass

from django.db import connection
from psycopg import sql

from arcweb.database.standing import standing
from arcweb.database.storage.tables import Table, rows

#: Rows whose columns are measured; pages are drawn so that about so many come.
SAMPLED = 500
COLUMNS = """
    SELECT a.attname AS name, format_type(a.atttypid, a.atttypmod) AS type, a.attstorage AS storage,
           has_column_privilege(a.attrelid, a.attnum, 'SELECT') AS readable
    FROM pg_attribute a
    WHERE a.attrelid = %s::oid AND a.attnum > 0 AND NOT a.attisdropped
    ORDER BY a.attnum
"""
BLOAT = "SELECT count(*) > 0 FROM pg_extension WHERE extname = 'pgstattuple'"
STORAGES = {"p": "plain", "e": "external", "m": "main", "x": "extended"}


@dataclass(frozen=True)
class Column:
    """`size`: bytes that it takes up in the whole table, an estimate; None: not to be seen, or no rows."""

    name: str
    type: str
    storage: str
    size: int | None
    share: float | None  #: percent of the columns' sum
    nulls: float | None  #: percent

    @property
    def storage_word(self) -> str:
        return STORAGES.get(self.storage, self.storage)


@dataclass(frozen=True)
class Bloat:
    """Space that holds no row, measured by pgstattuple."""

    dead_share: float
    free_share: float
    free: int


def columns(table: Table) -> list[Column]:
    """Each column's part of the table, from a sample of SAMPLED rows measured by pg_column_size, the largest
    first. Values outside the row count with what they take up there, and are not fetched."""
    found = list(rows(COLUMNS, [table.oid]))
    readable = [column["name"] for column in found if column["readable"]]
    sizes: dict[str, tuple[float, float]] = {}
    if readable and table.rows:
        share = 100.0 if table.rows <= SAMPLED * 4 else max(0.01, min(100.0, 300.0 * SAMPLED / table.rows))
        each = sql.SQL(", ").join(
            sql.SQL("coalesce(sum(pg_column_size({0})), 0)::float8, count({0})::float8").format(
                sql.Identifier(name)
            )
            for name in readable
        )
        query = sql.SQL(
            "SELECT count(*)::float8, {each} FROM "
            "(SELECT * FROM {table} TABLESAMPLE SYSTEM ({share}) LIMIT {most}) AS sampled"
        ).format(
            each=each,
            table=sql.Identifier(table.schema, table.name),
            share=sql.Literal(share),
            most=sql.Literal(SAMPLED),
        )
        with connection.cursor() as cursor:
            cursor.execute(query)
            seen, *numbers = cursor.fetchone()
        if seen:
            for name, total, held in zip(readable, numbers[::2], numbers[1::2], strict=True):
                sizes[name] = (total / seen, held / seen)
    whole = sum(width for width, _ in sizes.values())
    measured = [
        Column(
            column["name"],
            column["type"],
            column["storage"],
            int(sizes[column["name"]][0] * table.rows) if column["name"] in sizes else None,
            100 * sizes[column["name"]][0] / whole if whole and column["name"] in sizes else None,
            100 * (1 - sizes[column["name"]][1]) if column["name"] in sizes else None,
        )
        for column in found
    ]
    return sorted(measured, key=lambda column: -(column.size or 0))


def parameters(table: Table) -> list[str]:
    """The table's own storage parameters: "fillfactor=90"."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT coalesce(reloptions, '{}') FROM pg_class WHERE oid = %s::oid", [table.oid])
        row = cursor.fetchone()
        return list(row[0]) if row else []


def bloat(table: Table) -> Bloat | str:
    """Measured when pgstattuple is installed and may be asked; else the sentence that says why it is
    unknown."""
    with connection.cursor() as cursor:
        cursor.execute(BLOAT)
        if not cursor.fetchone()[0]:
            return (
                "How much of the table is empty is not known here. A superuser makes it known with "
                "CREATE EXTENSION pgstattuple;"
            )
        known = standing()
        cursor.execute("SELECT pg_has_role(current_user, 'pg_stat_scan_tables', 'USAGE')")
        if not (cursor.fetchone()[0] or known.superuser):
            return (
                "How much of the table is empty is not known here. A superuser allows it with "
                f'GRANT pg_stat_scan_tables TO "{known.role}";'
            )
        cursor.execute(
            "SELECT dead_tuple_percent, approx_free_percent, approx_free_space FROM "
            "pgstattuple_approx(%s::oid)",
            [table.oid],
        )
        dead, free, held = cursor.fetchone()
        return Bloat(dead, free, int(held))
