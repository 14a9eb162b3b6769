"""What the indexes cost and serve, and which foreign keys have none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db import connection

from arcweb.database.standing import quoted, standing
from arcweb.database.storage.names import Named, OfTable
from arcweb.database.storage.tables import rows

INDEXES = """
    SELECT i.indexrelid::bigint AS oid, i.indrelid::bigint AS table_oid, n.nspname AS schema,
           c.relname AS name, t.relname AS table_name, am.amname AS method,
           coalesce(pg_relation_size(c.oid), 0) AS size, greatest(t.reltuples, 0)::float8 AS table_rows,
           pg_stat_get_numscans(i.indexrelid) AS scans, {last_scan} AS last_scan,
           i.indisunique AS is_unique, i.indisprimary AS is_primary,
           EXISTS (SELECT FROM pg_constraint k WHERE k.conindid = i.indexrelid AND k.conrelid = i.indrelid)
               OR i.indisexclusion OR i.indisreplident AS is_constraint,
           i.indisvalid AS is_valid,
           EXISTS (SELECT FROM pg_inherits h WHERE h.inhrelid = i.indexrelid) AS is_attached,
           EXISTS (SELECT FROM pg_stat_progress_create_index p
                   WHERE p.index_relid = i.indexrelid
                       OR (p.relid = i.indrelid AND NOT i.indisvalid)) AS is_built,
           i.indkey::int2[]::int[] AS columns, i.indnkeyatts::int AS keys,
           i.indclass::oid[]::bigint[] AS classes, i.indcollation::oid[]::bigint[] AS collations,
           i.indoption::int2[]::int[] AS orders,
           coalesce(pg_get_expr(i.indexprs, i.indrelid), '') AS expressions,
           coalesce(pg_get_expr(i.indpred, i.indrelid), '') AS predicate,
           coalesce(c.reloptions, '{{}}') AS options, {definition} AS definition,
           pg_has_role(c.relowner, 'USAGE') AS owned, {may_reindex} AS may_reindex,
           coalesce((SELECT a.atttypmod FROM pg_attribute a
                     WHERE a.attrelid = i.indexrelid AND a.attnum = 1), -1) AS dimensions
    FROM pg_index i
    JOIN pg_class c ON c.oid = i.indexrelid
    JOIN pg_class t ON t.oid = i.indrelid
    JOIN pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_am am ON am.oid = c.relam
    WHERE c.relkind = 'i' AND t.relkind IN ('r', 'm') AND c.relpersistence <> 't'
        AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname !~ '^pg_toast'
        AND (%(table)s::bigint IS NULL OR i.indrelid = %(table)s::oid)
    ORDER BY size DESC, schema, name
    LIMIT %(most)s
"""
# An index serves a foreign key when its first columns are those of the key, in any order, for every row.
UNINDEXED = """
    SELECT k.conname AS name, n.nspname AS schema, t.relname AS table_name,
           greatest(t.reltuples, coalesce(pg_stat_get_live_tuples(t.oid), 0), 0)::float8 AS table_rows,
           ARRAY(
               SELECT a.attname::text FROM unnest(k.conkey) WITH ORDINALITY AS place (number, at)
               JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = place.number
               ORDER BY place.at
           ) AS columns,
           (SELECT pn.nspname || '.' || p.relname
            FROM pg_class p JOIN pg_namespace pn ON pn.oid = p.relnamespace
            WHERE p.oid = k.confrelid) AS parent,
           pg_has_role(t.relowner, 'USAGE') AS owned
    FROM pg_constraint k
    JOIN pg_class t ON t.oid = k.conrelid
    JOIN pg_namespace n ON n.oid = t.relnamespace
    WHERE k.contype = 'f' AND k.conparentid = 0 AND t.relkind = 'r'
        AND NOT EXISTS (
            SELECT FROM pg_index i
            WHERE i.indrelid = k.conrelid AND i.indisvalid AND i.indpred IS NULL
                AND i.indnkeyatts >= cardinality(k.conkey)
                AND (i.indkey::int2[])[0:cardinality(k.conkey) - 1] @> k.conkey
        )
    ORDER BY table_rows DESC, schema, table_name, name
"""
#: Most indexes that a page asks about: the largest.
MOST = 2000
#: The methods whose leading columns alone can be searched.
PREFIXED = ("btree",)
#: pgvector's own defaults, where an index names none.
VECTOR_DEFAULTS = {"hnsw": {"m": "16", "ef_construction": "64"}, "ivfflat": {"lists": "100"}}


@dataclass(frozen=True)
class Index(Named, OfTable):
    """One index; `size` in bytes, `scans` since the statistics began."""

    oid: int
    table_oid: int
    schema: str
    name: str
    table_name: str
    method: str
    size: int
    table_rows: float
    scans: int
    last_scan: datetime | None  #: PostgreSQL 16 and later
    is_unique: bool
    is_primary: bool
    is_constraint: bool
    is_valid: bool
    is_attached: bool  #: belongs to an index of a partitioned table
    is_built: bool  #: its building is under way
    columns: Sequence[int]
    keys: int
    classes: Sequence[int]
    collations: Sequence[int]
    orders: Sequence[int]
    expressions: str
    predicate: str
    options: Sequence[str]
    definition: str
    owned: bool
    may_reindex: bool
    dimensions: int

    @property
    def guards(self) -> bool:
        """Whether it holds rows to a rule, and so is needed even if nobody reads it."""
        return self.is_unique or self.is_primary or self.is_constraint

    @property
    def is_vector(self) -> bool:
        return self.method in VECTOR_DEFAULTS

    @property
    def role(self) -> str:
        if self.is_primary:
            return "primary key"
        if self.is_constraint:
            return "constraint"
        return "unique" if self.is_unique else ""

    @property
    def parameters(self) -> dict[str, str]:
        """Of a vector index: lists, or m and ef_construction, defaults included."""
        given = dict(option.partition("=")[::2] for option in self.options)
        return {**VECTOR_DEFAULTS.get(self.method, {}), **given}

    @property
    def key(self) -> tuple[tuple[int, int, int, int], ...]:
        """Its key columns, each with operator class, collation and order."""
        each = zip(self.columns, self.classes, self.collations, self.orders, strict=False)
        return tuple(each)[: self.keys]

    @property
    def included(self) -> frozenset[int]:
        return frozenset(self.columns[self.keys :])


@dataclass(frozen=True)
class Unindexed(OfTable):
    """A foreign key whose columns no index begins with."""

    name: str
    schema: str
    table_name: str
    table_rows: float
    columns: Sequence[str]
    parent: str
    owned: bool

    @property
    def statement(self) -> str:
        return f"CREATE INDEX CONCURRENTLY ON {self.table_quoted} ({', '.join(map(quoted, self.columns))});"


def indexes(table: int | None = None, *, definitions: bool = True) -> list[Index]:
    """The largest MOST indexes, or those of one table.

    definitions: with their text, which takes most of the time of asking; without, `definition` is "".
    """
    known = standing()
    maintain = " OR has_table_privilege(t.oid, 'MAINTAIN')" if known.major >= 17 else ""
    query = INDEXES.format(
        last_scan="pg_stat_get_lastscan(i.indexrelid)" if known.major >= 16 else "NULL::timestamptz",
        definition="pg_get_indexdef(i.indexrelid)" if definitions else "''",
        may_reindex=f"(pg_has_role(c.relowner, 'USAGE'){maintain})",
    )
    return [Index(**row) for row in rows(query, {"table": table, "most": MOST})]


def index(schema: str, name: str) -> Index | None:
    """That index, among those of its table."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT i.indrelid::bigint FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid "
            "JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = %s AND c.relname = %s",
            [schema, name],
        )
        found = cursor.fetchone()
    if found is None:
        return None
    return next((one for one in indexes(found[0]) if (one.schema, one.name) == (schema, name)), None)


def unindexed() -> list[Unindexed]:
    return [Unindexed(**row) for row in rows(UNINDEXED)]


def covered(found: Sequence[Index]) -> dict[int, Index]:
    """oid → the index that makes it needless: one of the same columns, or one that begins with them. Pure.

    An index that guards a rule is never needless. Of two alike a constraint's, then the older, stays.
    """
    by_table: dict[int, list[Index]] = {}
    for one in found:
        if one.is_valid:
            by_table.setdefault(one.table_oid, []).append(one)
    needless: dict[int, Index] = {}
    for together in by_table.values():
        for one in together:
            if one.guards or one.is_attached or one.is_vector:
                continue
            others = [other for other in together if other is not one and _serves(other, one)]
            if others:
                needless[one.oid] = min(
                    others, key=lambda other: (not other.guards, len(other.key), other.oid)
                )
    return needless


def _serves(other: Index, one: Index) -> bool:
    if (other.method, other.predicate, other.expressions) != (one.method, one.predicate, one.expressions):
        return False
    if not one.included <= other.included | {column for column, *_ in other.key}:
        return False
    if other.key == one.key:
        alike = one.included == other.included and not other.guards
        return other.oid < one.oid or not alike
    return (
        one.method in PREFIXED
        and not one.expressions
        and len(other.key) > len(one.key)
        and other.key[: len(one.key)] == one.key
    )
