"""What the tables hold and cost, from the catalogs and the statistics: no table is read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import connection

from arcweb.database.standing import standing
from arcweb.database.storage.names import Named

#: Most tables that a page asks about: the largest. More is said.
MOST = 1000

# A table's own storage parameters stand before the server's settings, as autovacuum itself does it.
# Each size asks the file system: OFFSET 0 keeps them from being asked again for the sum.
TABLES = """
    WITH option AS (
        SELECT c.oid, o.option_name AS name, o.option_value AS value
        FROM pg_class c CROSS JOIN LATERAL pg_options_to_table(c.reloptions) o
        WHERE c.relkind IN ('r', 'm') AND c.reloptions IS NOT NULL
    ), found AS (
        SELECT c.*, n.nspname
        FROM pg_class c
        JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE c.relkind IN ('r', 'm') AND c.relpersistence <> 't'
            AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname !~ '^pg_toast'
            AND (%(schema)s::text IS NULL OR n.nspname = %(schema)s)
            AND (%(name)s::text IS NULL OR c.relname = %(name)s)
    )
    SELECT c.oid::bigint AS oid, c.nspname AS schema, c.relname AS name,
           CASE WHEN c.relispartition THEN pg_partition_root(c.oid)::bigint END AS root,
           CASE WHEN c.relispartition THEN (
               SELECT rn.nspname || '.' || rc.relname
               FROM pg_class rc JOIN pg_namespace rn ON rn.oid = rc.relnamespace
               WHERE rc.oid = pg_partition_root(c.oid)
           ) END AS root_name,
           pg_get_userbyid(c.relowner) AS owner,
           size.heap, size.toast, size.indexes, size.heap + size.maps + size.toast + size.indexes AS total,
           c.reltuples::float8 AS tuples, c.relpages AS pages, c.relallvisible AS visible_pages,
           coalesce(s.n_live_tup, 0) AS live, coalesce(s.n_dead_tup, 0) AS dead,
           coalesce(s.n_mod_since_analyze, 0) AS changed,
           coalesce(s.seq_scan, 0) AS seq_scans, s.idx_scan AS index_scans,
           coalesce(s.n_tup_ins, 0) AS inserted, coalesce(s.n_tup_upd, 0) AS updated,
           coalesce(s.n_tup_del, 0) AS deleted, coalesce(s.n_tup_hot_upd, 0) AS hot_updated,
           s.last_vacuum, s.last_autovacuum, s.last_analyze, s.last_autoanalyze,
           coalesce((SELECT value::bool FROM option WHERE oid = c.oid AND name = 'autovacuum_enabled'), true)
               AND current_setting('autovacuum')::bool AS autovacuum,
           least(
               coalesce((SELECT value::float8 FROM option
                         WHERE oid = c.oid AND name = 'autovacuum_vacuum_threshold'),
                        current_setting('autovacuum_vacuum_threshold')::float8)
               + coalesce((SELECT value::float8 FROM option
                           WHERE oid = c.oid AND name = 'autovacuum_vacuum_scale_factor'),
                          current_setting('autovacuum_vacuum_scale_factor')::float8)
                 * greatest(c.reltuples, 0),
               nullif(coalesce((SELECT value::float8 FROM option
                                WHERE oid = c.oid AND name = 'autovacuum_vacuum_max_threshold'),
                               current_setting('autovacuum_vacuum_max_threshold', true)::float8), -1)
           )::float8 AS vacuum_at,
           age(c.relfrozenxid)::bigint AS xid_age,
           {may_maintain} AS may_maintain
    FROM found c
    CROSS JOIN LATERAL (
        SELECT coalesce(pg_relation_size(c.oid), 0) AS heap,
               coalesce(pg_relation_size(c.oid, 'fsm') + pg_relation_size(c.oid, 'vm')
                        + pg_relation_size(c.oid, 'init'), 0) AS maps,
               coalesce(pg_total_relation_size(nullif(c.reltoastrelid, 0)), 0) AS toast,
               coalesce(pg_indexes_size(c.oid), 0) AS indexes
        OFFSET 0
    ) AS size
    LEFT JOIN pg_stat_all_tables s ON s.relid = c.oid
    ORDER BY total DESC, schema, name
    LIMIT %(most)s
"""
#: VACUUM and ANALYZE are open to the owner, the database's owner, and from 17 on to who was granted MAINTAIN.
OWNS = """
    (pg_has_role(c.relowner, 'USAGE')
     OR pg_has_role((SELECT datdba FROM pg_database WHERE datname = current_database()), 'USAGE'))
"""
MAINTAINS = f"({OWNS} OR has_table_privilege(c.oid, 'MAINTAIN'))"
# A vector of n dimensions has 4 n + 8 bytes; pglz finds nothing to shorten in such numbers.
VECTORS = """
    SELECT a.attrelid::bigint AS oid, a.attname AS name, a.atttypmod AS dimensions, a.attstorage AS storage,
           t.typname AS type,
           (SELECT s.null_frac FROM pg_stats s
            WHERE s.schemaname = n.nspname AND s.tablename = c.relname AND s.attname = a.attname
            LIMIT 1)::float8 AS nulls
    FROM pg_attribute a
    JOIN pg_type t ON t.oid = a.atttypid
    JOIN pg_class c ON c.oid = a.attrelid
    JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE t.typname IN ('vector', 'halfvec') AND a.attnum > 0 AND NOT a.attisdropped AND c.relkind = 'r'
    ORDER BY a.attrelid, a.attnum
"""
#: PostgreSQL keeps no date of creation, and a crash empties the statistics: the youngest reset counts.
SINCE = """
    SELECT greatest(
        (SELECT stats_reset FROM pg_stat_database WHERE datname = current_database()),
        (SELECT stats_reset FROM pg_stat_bgwriter)
    )
"""
BYTES = {"vector": 4, "halfvec": 2}


@dataclass(frozen=True)
class Table(Named):
    """One table or partition. Sizes in bytes; counts of rows are PostgreSQL's estimates."""

    oid: int
    schema: str
    name: str
    root: int | None  #: of a partition: the table that it is a part of
    root_name: str | None
    owner: str
    heap: int
    toast: int  #: with its index
    indexes: int
    total: int
    tuples: float  #: at the last VACUUM or ANALYZE; -1: neither ever was
    pages: int
    visible_pages: int
    live: int
    dead: int
    changed: int  #: rows changed since the last ANALYZE
    seq_scans: int
    index_scans: int | None  #: None: it has no index
    inserted: int
    updated: int
    deleted: int
    hot_updated: int
    last_vacuum: datetime | None
    last_autovacuum: datetime | None
    last_analyze: datetime | None
    last_autoanalyze: datetime | None
    autovacuum: bool
    vacuum_at: float  #: dead rows at which autovacuum takes it up
    xid_age: int
    may_maintain: bool

    @property
    def rows(self) -> int:
        """The better of two estimates: the statistics move at once, the catalog outlives their loss."""
        return max(self.live, int(self.tuples), 0)

    @property
    def vacuumed(self) -> datetime | None:
        return _later(self.last_vacuum, self.last_autovacuum)

    @property
    def analyzed(self) -> datetime | None:
        return _later(self.last_analyze, self.last_autoanalyze)

    @property
    def dead_share(self) -> float | None:
        """Percent of all rows; None for an empty table."""
        both = self.live + self.dead
        return 100 * self.dead / both if both else None

    @property
    def hot_share(self) -> float | None:
        """Percent of updates that no index had to learn of."""
        return 100 * self.hot_updated / self.updated if self.updated else None

    @property
    def index_share(self) -> float | None:
        """Percent of scans that used an index."""
        scans = self.seq_scans + (self.index_scans or 0)
        return 100 * (self.index_scans or 0) / scans if scans else None


@dataclass(frozen=True)
class VectorColumn:
    oid: int
    name: str
    dimensions: int  #: -1: any
    storage: str
    type: str
    nulls: float | None  #: share of rows without; None: never analyzed, or not to be seen

    def bytes_in(self, table: Table) -> int | None:
        """How much of the table the vectors are: an estimate from its rows; None where it cannot be made."""
        if self.dimensions < 1 or self.nulls is None:
            return None
        return int(table.rows * (1 - self.nulls) * (BYTES[self.type] * self.dimensions + 8))


def tables() -> list[Table]:
    """The largest MOST tables of this database, partitions one by one."""
    return list(_ask(None, None))


def table(schema: str, name: str) -> Table | None:
    return next(_ask(schema, name), None)


def vector_columns() -> list[VectorColumn]:
    return [VectorColumn(**row) for row in rows(VECTORS)]


def counted_since() -> datetime | None:
    """Since when scans and rows are counted; None: unknown."""
    with connection.cursor() as cursor:
        cursor.execute(SINCE)
        since: datetime | None = cursor.fetchone()[0]
        return since


def rows(query: Any, parameters: Any = None) -> Iterator[dict[str, Any]]:
    with connection.cursor() as cursor:
        cursor.execute(query, parameters)
        names = [column.name for column in cursor.description]
        answered = cursor.fetchall()
    for row in answered:
        yield dict(zip(names, row, strict=True))


def _ask(schema: str | None, name: str | None) -> Iterator[Table]:
    query = TABLES.replace("{may_maintain}", MAINTAINS if standing().major >= 17 else OWNS)
    for row in rows(query, {"schema": schema, "name": name, "most": MOST}):
        yield Table(**row)


def _later(one: datetime | None, other: datetime | None) -> datetime | None:
    return max((moment for moment in (one, other) if moment is not None), default=None)
