"""What is wrong with tables and indexes, by thresholds that are stated with their source."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta

from django.contrib.admin.utils import quote
from django.urls import reverse
from django.utils import timezone

from arcweb.charts import size
from arcweb.database.findings import Finding
from arcweb.database.queries.suggestions import LEAST_ROWS
from arcweb.database.standing import quoted
from arcweb.database.storage.indexes import Index, Unindexed
from arcweb.database.storage.tables import Table, VectorColumn

MB = 1 << 20
#: An index is called unused only after so long without a scan, and from this size on.
UNUSED_AFTER = timedelta(days=7)
UNUSED_SIZE = 1 * MB
#: Bytes from which an index that another makes needless is said, unless it is that one's twin.
NEEDLESS_SIZE = 1 * MB
UNUSED_WHY = (
    "No scan in at least 7 days of statistics, 1 MB or more; never a unique index or one of a constraint. "
    "Replicas count their own scans, and PostgreSQL does not say when an index was made."
)
#: Fewer dead rows are noise.
DEAD_LEAST = 1000
DEAD_WHY = (
    "PostgreSQL's own rule (routine vacuuming in its manual): autovacuum begins at "
    "autovacuum_vacuum_threshold "
    "+ autovacuum_vacuum_scale_factor * rows, 50 + 20 % unless set otherwise. Here from 1,000 dead rows on."
)
#: Pages (of 8 kB) from which a table without statistics misleads the planner.
UNANALYZED_PAGES = 10
#: Bytes from which a table that no VACUUM has seen is large.
UNVACUUMED_SIZE = 100 * MB
#: Rows of a referencing table below which reading it for each deleted parent is quick.
UNINDEXED_ROWS = LEAST_ROWS
#: Vectors fewer than this are compared in no time wherever they lie.
VECTOR_ROWS = 1000
#: A TOAST part so many times the heap, and so large, is news.
TOAST_TIMES, TOAST_SIZE = 10, 1024 * MB
#: Bytes beyond which a value leaves the row, unless the table says otherwise (TOAST_TUPLE_THRESHOLD).
TOASTED_FROM = 2000
LEFT_OVER = re.compile(r"_cc(new|old)\d*$")


def of_tables(tables: Iterable[Table], now: datetime | None = None) -> list[Finding]:
    """Dead rows, tables that were never analyzed or vacuumed, TOAST that outgrows its table."""
    return [finding for table in tables for finding in of_table(table, now or timezone.now())]


def of_table(table: Table, now: datetime) -> list[Finding]:
    found = []
    link = table_url(table.schema, table.name)
    if table.dead >= DEAD_LEAST and table.dead > table.vacuum_at:
        share = table.dead_share or 0
        why_not = "" if table.autovacuum else " Autovacuum is off for it."
        last = (
            f"last vacuumed {ago(table.vacuumed, now)}" if table.vacuumed else "no VACUUM of it is on record"
        )
        found.append(
            Finding(
                "bad" if table.dead > 4 * max(table.vacuum_at, DEAD_LEAST) else "warn",
                f"{table.full_name} has {table.dead:,} dead rows, {share:.0f} % of all; autovacuum should "
                "have "
                f"begun at {table.vacuum_at:,.0f} ({last}).{why_not}",
                link,
                "Vacuum it",
                statement=f"VACUUM (ANALYZE) {table.quoted};",
                why=DEAD_WHY,
            )
        )
    if table.tuples < 0 and table.heap >= UNANALYZED_PAGES * 8192 and table.analyzed is None:
        found.append(
            Finding(
                "warn",
                f"{table.full_name} ({size(table.heap)}) was never analyzed: the planner guesses.",
                link,
                "Analyze it",
                statement=f"ANALYZE {table.quoted};",
                why="pg_class.reltuples is -1, which means that neither VACUUM nor ANALYZE has ever run; "
                "from "
                "80 kB on.",
            )
        )
    if table.heap >= UNVACUUMED_SIZE and table.visible_pages == 0 and table.vacuumed is None:
        found.append(
            Finding(
                "warn",
                f"{table.full_name} ({size(table.heap)}) was never vacuumed: index-only scans read the "
                "table, "
                "and its oldest rows age towards wraparound.",
                link,
                "Vacuum it",
                statement=f"VACUUM (ANALYZE) {table.quoted};",
                why="No VACUUM on record and no page is marked all-visible (pg_class.relallvisible = 0); "
                "from "
                f"{size(UNVACUUMED_SIZE)} on.",
            )
        )
    if table.toast >= TOAST_SIZE and table.toast >= TOAST_TIMES * table.heap:
        found.append(
            Finding(
                "warn",
                f"{size(table.toast)} of {table.full_name} lie outside its rows (TOAST), "
                f"{size(table.heap)} in "
                "them: whatever reads the wide columns reads ten times as much.",
                link,
                "Look at it",
                why=f"TOAST of {TOAST_TIMES} times the table and {size(TOAST_SIZE)} or more (our own "
                "threshold).",
            )
        )
    return found


def of_vectors(tables: Mapping[int, Table], columns: Iterable[VectorColumn]) -> list[Finding]:
    """Vectors that lie outside their rows, where an exact search reads them one by one."""
    found = []
    for column in columns:
        table = tables.get(column.oid)
        if table is None or table.rows < VECTOR_ROWS or column.storage not in ("e", "x"):
            continue
        if column.dimensions * (4 if column.type == "vector" else 2) < TOASTED_FROM or table.toast < MB:
            continue
        found.append(
            Finding(
                "warn",
                f"The vectors of {table.full_name}.{column.name} lie outside their rows (TOAST): an exact "
                "search "
                "fetches each one by itself.",
                table_url(table.schema, table.name),
                "Look at it",
                statement=f"ALTER TABLE {table.quoted} ALTER COLUMN {quoted(column.name)} SET STORAGE MAIN, "
                "SET (toast_tuple_target = 8160);\n"
                f"VACUUM FULL {table.quoted}; -- rewrites the table under an exclusive lock",
                why="Measured for this project (docs/DECISIONS.md): 3,000 vectors of 1,536 numbers "
                "compared in 28 ms "
                "from TOAST, 10 ms in the row.",
            )
        )
    return found


def of_indexes(
    found: Sequence[Index], needless: Mapping[int, Index], since: datetime | None, now: datetime | None = None
) -> list[Finding]:
    """Invalid, duplicate and redundant, unused, and vector indexes whose parameters do not fit."""
    now = now or timezone.now()
    old_enough = since is not None and now - since >= UNUSED_AFTER
    findings = []
    for one in found:
        if not one.is_valid:
            if not one.is_built and not one.is_attached:
                findings.append(_invalid(one))
        elif one.oid in needless:
            if is_worth_saying(one, needless[one.oid]):
                findings.append(_needless(one, needless[one.oid]))
        elif old_enough and is_unused(one):
            findings.append(
                Finding(
                    "warn",
                    f"{one.full_name} ({size(one.size)}) was not used once since {since:%Y-%m-%d}; every "
                    "write to "
                    f"{one.table_full_name} pays for it.",
                    drop_url(one),
                    "Drop it…",
                    since,
                    f"DROP INDEX CONCURRENTLY {one.quoted};",
                    UNUSED_WHY,
                )
            )
        if one.is_valid and one.is_vector:
            findings += _vector(one)
    return findings


def of_foreign_keys(found: Iterable[Unindexed]) -> list[Finding]:
    return [
        Finding(
            "warn",
            f"The foreign key {key.name} of {key.table_full_name} ({', '.join(key.columns)}) has no index: "
            "each row "
            f"deleted from {key.parent} reads about {key.table_rows:,.0f} rows.",
            f"{reverse('admin:database_indexes')}#missing",
            "Make one",
            statement=key.statement,
            why=f"No index begins with its columns; from {UNINDEXED_ROWS:,} rows on, below which "
            "reading the table is quick. PostgreSQL indexes the referenced side only.",
        )
        for key in found
        if key.table_rows >= UNINDEXED_ROWS
    ]


def is_worth_saying(one: Index, other: Index) -> bool:
    """A twin always; what a larger index, or one that guards a rule, does too from NEEDLESS_SIZE on: Django
    makes several such by itself, which cost nothing while they are small."""
    return (one.key == other.key and not other.guards) or one.size >= NEEDLESS_SIZE


def is_unused(one: Index) -> bool:
    """Whether nothing speaks against it but time: no scan, large enough, guards nothing."""
    return one.scans == 0 and one.size >= UNUSED_SIZE and not one.guards and not one.is_attached


def why_unknown(since: datetime | None, now: datetime | None = None) -> str:
    """Why nothing is said about unused indexes yet; "" when it is."""
    if since is None:
        return "Which indexes are unused is unknown yet: PostgreSQL does not say since when it counts."
    age = (now or timezone.now()) - since
    if age >= UNUSED_AFTER:
        return ""
    hours = int(age.total_seconds() // 3600)
    counted = (
        f"{hours // 24} days" if hours >= 48 else f"{hours} hours" if hours >= 2 else "less than 2 hours"
    )
    return (
        f"Which indexes are unused is unknown yet: the server has counted their use for {counted}, "
        "and 7 days are needed to tell."
    )


def advised_lists(rows: float) -> int:
    """pgvector's advice for IVFFlat (its README): rows / 1000 up to a million rows, their square root
    beyond."""
    return max(1, round(rows / 1000 if rows <= 1_000_000 else rows**0.5))


def table_url(schema: str, name: str) -> str:
    return reverse("admin:database_table", args=[quote(schema), quote(name)])


def drop_url(one: Index) -> str:
    return reverse("admin:database_index_drop", args=[quote(one.schema), quote(one.name)])


def ago(moment: datetime | None, now: datetime) -> str:
    if moment is None:
        return "never"
    minutes = max(0, int((now - moment).total_seconds() // 60))
    if minutes < 1:
        return "just now"
    if minutes < 120:
        return f"{minutes} min ago"
    return f"{minutes // 60} h ago" if minutes < 48 * 60 else f"{minutes // 1440} days ago"


def _invalid(one: Index) -> Finding:
    left = LEFT_OVER.search(one.name)
    why = "pg_index.indisvalid is false and nothing builds it now: a CREATE or REINDEX CONCURRENTLY failed."
    if left:
        what = (
            "a copy that was not finished" if left[1] == "new" else "the old copy, which a new one replaced"
        )
        return Finding(
            "bad",
            f"{one.full_name} is {what} ({size(one.size)}): a REINDEX CONCURRENTLY failed. No query uses "
            "it, every "
            "write pays for it.",
            drop_url(one),
            "Drop it…",
            statement=f"DROP INDEX CONCURRENTLY {one.quoted};",
            why=why,
        )
    rule = " It does not hold rows to its rule." if one.is_unique else ""
    return Finding(
        "bad",
        f"{one.full_name} of {one.table_full_name} is invalid: no query uses it, every write pays for "
        f"it.{rule}",
        table_url(one.schema, one.table_name),
        "Build it anew",
        statement=f"REINDEX INDEX CONCURRENTLY {one.quoted};",
        why=why,
    )


def _needless(one: Index, other: Index) -> Finding:
    if one.key == other.key:
        how = f"is the same as {other.name}"
        why = "The same columns, operator classes, order and condition."
    else:
        how = f"is the beginning of {other.name}, which serves its searches too"
        why = (
            "A b-tree can be searched by its first columns (PgHero's rule); only if both hold the same rows."
        )
    return Finding(
        "warn",
        f"{one.full_name} ({size(one.size)}) of {one.table_full_name} {how}.",
        drop_url(one),
        "Drop it…",
        statement=f"DROP INDEX CONCURRENTLY {one.quoted};",
        why=why,
    )


def _vector(one: Index) -> list[Finding]:
    if one.method != "ivfflat":
        return []
    lists, rows = int(one.parameters["lists"]), one.table_rows
    advised = advised_lists(rows)
    link = table_url(one.schema, one.table_name)
    if rows < 1:
        sentence = (
            f"{one.full_name} is an IVFFlat index on an empty table: its {lists} lists divide nothing. "
            "Build it "
            "again when the rows are there."
        )
        return [
            Finding(
                "warn",
                sentence,
                link,
                "Look at it",
                statement=f"REINDEX INDEX CONCURRENTLY {one.quoted};",
                why="IVFFlat learns its centres from the rows that it finds when it is built (pgvector's "
                "README).",
            )
        ]
    if 0.25 <= lists / advised <= 4 or max(lists, advised) <= 100:
        return []
    return [
        Finding(
            "warn",
            f"{one.full_name} has {lists} lists for about {rows:,.0f} rows; {advised} would fit.",
            link,
            "Look at it",
            statement=f"ALTER INDEX {one.quoted} SET (lists = {advised});\nREINDEX INDEX CONCURRENTLY "
            f"{one.quoted};",
            why="pgvector's advice: rows / 1000, from a million rows on their square root; said when it is "
            "off by "
            "more than four times.",
        )
    ]
