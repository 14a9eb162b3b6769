"""Indexes that this database lacks, each with its reason, its statement and what it costs.

Two sources, both of which look at the indexes that there are first: what the plans of costly statements
read and throw away (`for_plan`), and foreign keys whose rows are searched whenever the row that they point
at goes. Nothing is suggested for a table of fewer than LEAST_ROWS rows, which is read in a moment anyway,
nor where a valid index begins with a column that the condition compares for equality.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from django.db import connection

from arcweb.charts import quantity, size
from arcweb.database.queries.explain import READS, Refused, line, on
from arcweb.database.queries.lexer import first_word, tokens
from arcweb.database.queries.statistics import NoStatistics, read
from arcweb.database.queries.texts import names, plannable
from arcweb.database.standing import quoted, standing

#: Rows below which reading the whole table is quick: about 100 pages of 8 kB, a few milliseconds.
LEAST_ROWS = 10_000
#: Share of a table's rows from which an index saves little over reading it whole. The planner's own
#: break-even with random_page_cost 4 lies lower; with all pages cached it lies near here.
LARGEST_SHARE = 0.05
#: Bytes of a B-tree entry beside its key (item pointer 4, header 8, alignment), and how full a page is.
ENTRY_BYTES, FILL = 12, 0.9

#: How often a table must have been read whole since its statistics began to be looked at: PgHero's measure
#: of "missing indexes" also starts with tables that are read whole more often than by an index.
LEAST_SCANS = 50
#: Statements that are planned for suggestions, characters of the longest, minutes that a plan is good for.
PLANNED, LONGEST, PLAN_MINUTES = 10, 5000, 10

READ_WHOLE = """
    SELECT pg_class.relname::text FROM pg_stat_user_tables
    JOIN pg_class ON pg_class.oid = relid
    WHERE reltuples >= %(least)s AND seq_scan >= %(scans)s AND seq_tup_read >= seq_scan * reltuples / 2
"""
FILTERED = """
    SELECT pg_class.oid, reltuples::bigint,
           coalesce((SELECT array_agg(attname::text) FROM pg_attribute
                     JOIN pg_type ON pg_type.oid = atttypid
                     WHERE attrelid = pg_class.oid AND attnum > 0 AND NOT attisdropped
                       AND attname = ANY (%(columns)s)
                       AND EXISTS (SELECT FROM pg_opclass JOIN pg_am ON pg_am.oid = opcmethod
                                   WHERE amname = 'btree' AND opcdefault
                                     AND (opcintype = atttypid
                                          OR (typtype = 'e' AND opcintype = 'anyenum'::regtype)
                                          OR (typcategory = 'S' AND opcintype = 'text'::regtype)))
                    ), '{}'),
           (SELECT array_agg(attname::text) FROM pg_index
            JOIN pg_attribute ON attrelid = indrelid AND attnum = indkey[0]
            WHERE indrelid = pg_class.oid AND indisvalid AND indpred IS NULL)
    FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
    WHERE nspname = %(schema)s AND relname = %(table)s
"""
#: A comparison as EXPLAIN prints it, column on the left: (m.agent_id = $1), ((m.name)::text = 'x'::text).
COMPARED = re.compile(
    r'^\(*(?:(?:"(?:[^"]|"")+"|\w+)\.)?(?P<column>"(?:[^"]|"")+"|[a-z_]\w*)\)?(?:::[a-z][a-z ]*)? '
    r"(?P<operator>=|<=|>=|<|>) (?P<other>.+)$"
)

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
    SELECT nspname, pg_class.relname, reltuples::bigint, pg_table_size(pg_class.oid),
           coalesce(n_tup_ins + n_tup_upd - n_tup_hot_upd, 0),
           extract(epoch FROM statement_timestamp() - coalesce(
               (SELECT stats_reset FROM pg_stat_database WHERE datname = current_database()),
               pg_postmaster_start_time()))::float8,
           (SELECT coalesce(sum(coalesce(avg_width, 8)), 8) FROM unnest(%(columns)s::text[]) AS wanted
            LEFT JOIN pg_stats
                ON pg_stats.schemaname = nspname AND tablename = pg_class.relname AND attname = wanted)
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
    """Those for the whole database, the largest tables first. Raises django.db.Error.

    Plans are made, but nothing is run, for the statements that took most time and name a large table that is
    read whole too often; each is planned once in PLAN_MINUTES by a process.
    """
    found = {(one.schema, one.table, one.columns[0]): one for one in of_foreign_keys()}
    for one in of_costly_statements():
        key = (one.schema, one.table, one.columns[0])
        known = found.get(key)
        found[key] = one if known is None else replace(one, queryids=(*known.queryids, *one.queryids))
    return sorted(found.values(), key=lambda one: -one.bytes)


def of_costly_statements() -> list[Suggestion]:
    """From generic plans, which PostgreSQL 16 and later make without values."""
    with connection.cursor() as cursor:
        cursor.execute(READ_WHOLE, {"least": LEAST_ROWS, "scans": LEAST_SCANS})
        tables = {name for (name,) in cursor.fetchall()}
    if not tables or standing().version < 160000:
        return []
    try:
        entries = read().entries.values()
    except NoStatistics:
        return []
    costly = sorted(
        (
            entry
            for entry in entries
            if first_word(entry.text) in READS and names(entry.text) & tables and len(entry.text) < LONGEST
        ),
        key=lambda entry: -entry.counters.milliseconds,
    )[:PLANNED]
    found: list[Suggestion] = []
    for queryid, answer in _plans({entry.key.queryid: entry.text for entry in costly}).items():
        found += for_plan(answer, queryid)
    return found


def for_plan(answer: dict[str, Any], queryid: int | None = None) -> list[Suggestion]:
    """What would serve the steps of a plan (EXPLAIN's JSON, made with VERBOSE) that read whole tables.

    Of each such step the conditions that must all hold are looked at; of these the comparisons of a bare
    column: those for equality first, then one for a range. Conditions with OR, on expressions or on patterns
    are left alone.
    """
    found: dict[tuple[str, str, str], Suggestion] = {}
    for raw in _steps(answer["Plan"]):
        if raw["Node Type"] == "Seq Scan" and "Filter" in raw and "Schema" in raw:
            one = _for_scan(raw, queryid)
            if one is not None:
                found[(one.schema, one.table, one.columns[0])] = one
    return list(found.values())


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
    hours = table.seconds / 3600
    since = f"{quantity(round(hours / 24, 1))} days" if hours >= 48 else f"{quantity(round(hours, 1))} hours"
    cost = (
        f"About {size(table.index_bytes)} on disk ({table.rows:,} entries of {table.width} bytes and "
        f"{ENTRY_BYTES} beside, pages {FILL:.0%} full); one more index to keep up for each row that is "
        f"written, which were {table.writes:,} in the last {since}."
    )
    return Suggestion(
        table.schema, table.name, tuple(columns), reason, effect, cost, table.index_bytes, queryids
    )


def _for_scan(raw: Mapping[str, Any], queryid: int | None) -> Suggestion | None:
    compared = _comparisons(str(raw["Filter"]), str(raw.get("Alias", "")))
    if not compared:
        return None
    with connection.cursor() as cursor:
        cursor.execute(
            FILTERED,
            {
                "schema": raw["Schema"],
                "table": raw["Relation Name"],
                "columns": [name for name, _ in compared],
            },
        )
        row = cursor.fetchone()
    if row is None:
        return None
    oid, rows, real, leading = row
    equal = [name for name, operator in compared if operator == "=" and name in real]
    ranged = [name for name, operator in compared if operator != "=" and name in real and name not in equal]
    kept = float(raw.get("Actual Rows", raw["Plan Rows"]))
    columns = list(dict.fromkeys([*equal, *ranged[:1]]))
    if not columns or rows < LEAST_ROWS or kept > rows * LARGEST_SHARE:
        return None
    if set(leading or ()) & set(equal or columns):
        return None
    table = table_of(oid, columns)
    if table is None:
        return None
    said = "kept" if "Actual Rows" in raw else "expected to be kept"
    return suggestion(
        table,
        columns,
        reason=(
            f"A statement reads all {rows:,} rows of {table.schema}.{table.name}, of which {quantity(kept)} "
            f"are {said}, and no index begins with {' or '.join(equal or columns)}."
        ),
        effect=f"It reads about {quantity(kept)} rows instead of {rows:,} ({size(table.size)}).",
        queryids=() if queryid is None else (queryid,),
    )


def _comparisons(text: str, alias: str) -> list[tuple[str, str]]:
    """(column, operator) of the conditions of a filter that must all hold; none if any of them is an OR."""
    text = "".join("'…'" if token.kind == "string" else token.text for token in tokens(text))
    if " OR " in text or "SubPlan" in text:
        return []
    found = []
    for part in text.split(" AND "):
        match = COMPARED.match(part.strip())
        # Nothing can be looked up by a comparison with another column of the same row.
        if match and f"{alias}." not in match["other"]:
            found.append((match["column"].strip('"').replace('""', '"'), match["operator"]))
    return found


def _steps(raw: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield raw
    for child in raw.get("Plans", ()):
        yield from _steps(child)


_planned: dict[int, tuple[float, dict[str, Any] | None]] = {}
_lock = threading.Lock()


def forget() -> None:
    """Plans are made anew: between tests."""
    with _lock:
        _planned.clear()


def _plans(texts: Mapping[int, str]) -> dict[int, dict[str, Any]]:
    """The plans of these statements, by their queryid; one that is refused has none."""
    now = time.monotonic()
    with _lock:
        for queryid in [one for one, (made, _) in _planned.items() if now - made > PLAN_MINUTES * 60]:
            del _planned[queryid]
        missing = {queryid: text for queryid, text in texts.items() if queryid not in _planned}
    if missing:
        with line() as raw:
            for queryid, text in missing.items():
                answer = None
                with suppress(Refused):
                    answer = on(raw, plannable(text)).answer
                with _lock:
                    _planned[queryid] = (now, answer)
    with _lock:
        return {
            queryid: answer
            for queryid in texts
            if (answer := _planned.get(queryid, (0.0, None))[1]) is not None
        }
