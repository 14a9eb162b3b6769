"""Indexes that this database lacks, each with its reason, its statement and what it costs.

Two sources, both of which look at the indexes that there are first: what the plans of costly statements
read and throw away (`for_plan`), and foreign keys whose rows are searched whenever the row that they point
at goes. Nothing is suggested for a table of fewer than LEAST_ROWS rows, which is read in a moment anyway,
nor where a valid index begins with a column that the condition compares for equality.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from django.db import connection

from arcweb.charts import size
from arcweb.database.standing import quoted

#: Rows below which reading the whole table is quick: about 100 pages of 8 kB, a few milliseconds.
LEAST_ROWS = 10_000
#: Share of a table's rows from which an index saves little over reading it whole. The planner's own
#: break-even with random_page_cost 4 lies lower; with all pages cached it lies near here.
LARGEST_SHARE = 0.05
#: Bytes of a B-tree entry beside its key (item pointer 4, header 8, alignment), and how full a page is.
ENTRY_BYTES, FILL = 12, 0.9

FOREIGN_KEYS = """
    SELECT constraint_.conname, constraint_.conrelid, constraint_.confrelid::regclass::text,
           ARRAY(SELECT attname::text FROM unnest(conkey) WITH ORDINALITY AS key (number, place)
                 JOIN pg_attribute ON attrelid = conrelid AND attnum = number ORDER BY place)
    FROM pg_constraint AS constraint_
    JOIN pg_class ON pg_class.oid = conrelid
    WHERE contype = 'f' AND conparentid = 0 AND reltuples >= %(least)s
      AND NOT EXISTS (
          SELECT FROM pg_index
          WHERE indrelid = conrelid AND indisvalid AND indpred IS NULL AND indkey[0] = ANY (conkey)
      )
    ORDER BY conrelid, conname
    LIMIT 20
"""
TABLE = """
    SELECT nspname, relname, reltuples::bigint, pg_table_size(pg_class.oid),
           coalesce(n_tup_ins + n_tup_upd - n_tup_hot_upd, 0),
           extract(epoch FROM statement_timestamp() - coalesce(
               (SELECT stats_reset FROM pg_stat_database WHERE datname = current_database()),
               pg_postmaster_start_time()))::float8,
           (SELECT coalesce(sum(coalesce(avg_width, 8)), 8) FROM unnest(%(columns)s::text[]) AS wanted
            LEFT JOIN pg_stats ON schemaname = nspname AND tablename = relname AND attname = wanted)
    FROM pg_class
    JOIN pg_namespace ON pg_namespace.oid = relnamespace
    LEFT JOIN pg_stat_user_tables ON relid = pg_class.oid
    WHERE pg_class.oid = %(table)s
"""


@dataclass(frozen=True)
class Suggestion:
    """An index to make. `schema`, `table`, `columns` as in the catalog; everything else is for people."""

    schema: str
    table: str
    columns: tuple[str, ...]
    reason: str  #: a sentence: what reads the whole table now, how often or how much
    effect: str  #: a sentence: what is to be expected
    cost: str  #: a sentence: estimated size, and what writing pays
    bytes: int  #: estimated size of the index
    queryids: tuple[int, ...] = ()  #: the statements that would use it

    @property
    def name(self) -> str:
        """The index's name, within PostgreSQL's 63 bytes."""
        return f"idx_{self.table}_{'_'.join(self.columns)}".encode()[:63].decode(errors="ignore")

    @property
    def statement(self) -> str:
        """To be typed; it does not hold up writers, and must not run in a transaction."""
        columns = ", ".join(map(quoted, self.columns))
        return (
            f"CREATE INDEX CONCURRENTLY {quoted(self.name)} "
            f"ON {quoted(self.schema)}.{quoted(self.table)} ({columns});"
        )


@dataclass(frozen=True)
class Table:
    """What is known of a table with regard to an index on some of its columns."""

    schema: str
    name: str
    rows: int
    size: int  #: bytes
    writes: int  #: rows written since the statistics began, that an index has to follow
    seconds: float  #: since then
    width: int  #: bytes of the columns together, on average

    @property
    def index_bytes(self) -> int:
        key = (self.width + 7) // 8 * 8
        return int(self.rows * (key + ENTRY_BYTES) / FILL)


def suggestions() -> list[Suggestion]:
    """Those for the whole database, the largest tables first. Raises django.db.Error."""
    return sorted(of_foreign_keys(), key=lambda one: -one.bytes)


def of_foreign_keys() -> list[Suggestion]:
    """Foreign keys of large tables that no index begins with."""
    with connection.cursor() as cursor:
        cursor.execute(FOREIGN_KEYS, {"least": LEAST_ROWS})
        keys = cursor.fetchall()
    found = []
    for name, table, target, columns in keys:
        known = table_of(table, columns)
        if known is not None:
            found.append(
                suggestion(
                    known,
                    columns,
                    reason=(
                        f"No index begins with the columns of the foreign key {name}: deleting a row of "
                        f"{target}, or changing its key, reads all {known.rows:,} rows of "
                        f"{known.schema}.{known.name}."
                    ),
                    effect=f"Each such deletion finds its rows at once, and joins with {target} may use it.",
                )
            )
    return found


def table_of(table: int, columns: Sequence[str]) -> Table | None:
    """By the table's oid; None when it is gone."""
    with connection.cursor() as cursor:
        cursor.execute(TABLE, {"table": table, "columns": list(columns)})
        row = cursor.fetchone()
    return None if row is None else Table(*row)


def suggestion(
    table: Table, columns: Sequence[str], *, reason: str, effect: str, queryids: tuple[int, ...] = ()
) -> Suggestion:
    """With its size and what writing pays, by the table's own figures."""
    day = table.writes / max(table.seconds, 1) * 86400
    cost = (
        f"About {size(table.index_bytes)} on disk ({table.rows:,} entries of {table.width} bytes and "
        f"{ENTRY_BYTES} beside, pages {FILL:.0%} full); one more index to keep up for each row written, "
        f"{day:,.0f} a day of late."
    )
    return Suggestion(
        table.schema, table.name, tuple(columns), reason, effect, cost, table.index_bytes, queryids
    )
