"""What pg_stat_statements has counted in this database, as dataclasses.

Its counters grow until somebody resets them, all or one statement's, or until the server needs room and
forgets the statements that were used least. `Statistics` carries what tells these apart.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from django.db import DEFAULT_DB_ALIAS, DatabaseError, connections
from psycopg import sql

#: Characters of a text that are read: enough to recognise and to search a statement in a list.
LONGEST = 6000
WHERE = """
    SELECT nspname, extversion FROM pg_extension
    JOIN pg_namespace ON pg_namespace.oid = extnamespace
    WHERE extname = 'pg_stat_statements'
"""
# One statement may be counted twice, called by itself and within a function: that is one line for people.
# Roles whose statements are hidden have no queryid.
READ = """
    SELECT queryid, userid::bigint, sum(calls)::bigint AS calls, sum(total_exec_time) AS milliseconds,
           sum(rows)::bigint AS rows, sum(shared_blks_hit)::bigint AS hit,
           sum(shared_blks_read)::bigint AS read,
           sum(temp_blks_read + temp_blks_written)::bigint AS temp, sum(wal_bytes)::bigint AS wal,
           {since} AS since, min(left(query, {longest})) AS text, max(max_exec_time) AS worst,
           sum({io}) AS io_milliseconds, min(rolname::text) AS role, count(*) AS lines
    FROM {view}
    LEFT JOIN pg_roles ON pg_roles.oid = userid
    WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
      {only}
    GROUP BY queryid, userid
"""
INFO = "SELECT stats_reset, dealloc, clock_timestamp() FROM {view}"
TEXT = "SELECT query FROM {view} WHERE queryid = %s AND query <> '' LIMIT 1"
RESET = "SELECT {function}()"
MAY_RESET = """
    SELECT has_function_privilege(pg_proc.oid, 'EXECUTE'), pg_proc.oid::regprocedure::text
    FROM pg_proc
    JOIN pg_depend ON pg_depend.objid = pg_proc.oid AND classid = 'pg_proc'::regclass AND deptype = 'e'
    JOIN pg_extension ON pg_extension.oid = refobjid AND refclassid = 'pg_extension'::regclass
    WHERE extname = 'pg_stat_statements' AND proname = 'pg_stat_statements_reset'
"""


class NoStatistics(Exception):  # noqa: N818 - it says what is missing
    """pg_stat_statements counts nothing here. Its text is a sentence; TO_TYPE mends it."""


@dataclass(frozen=True)
class Counters:
    """What was counted of a statement, or of several. Milliseconds, blocks (of 8 kB as a rule), bytes."""

    calls: int = 0
    milliseconds: float = 0.0
    rows: int = 0
    hit: int = 0  #: blocks found in shared buffers
    read: int = 0  #: blocks that had to be fetched
    temp: int = 0  #: blocks of temporary files, read and written
    wal: int = 0  #: bytes of write-ahead log

    def __sub__(self, other: Counters) -> Counters:
        return Counters(*(getattr(self, name) - getattr(other, name) for name in COUNTED))

    def __add__(self, other: Counters) -> Counters:
        return Counters(*(getattr(self, name) + getattr(other, name) for name in COUNTED))

    @property
    def fell(self) -> bool:
        """As a difference: something is less than before, so that counting began anew in between."""
        return self.calls < 0 or self.milliseconds < -0.001 or self.rows < 0

    @property
    def mean(self) -> float | None:
        """Milliseconds a call."""
        return self.milliseconds / self.calls if self.calls > 0 else None

    @property
    def hit_ratio(self) -> float | None:
        """Percent of the blocks that were in shared buffers; the system may have had the others."""
        asked = self.hit + self.read
        return 100 * self.hit / asked if asked > 0 else None


#: What makes pg_stat_statements count: the first as a superuser, followed by a restart of the server.
TO_TYPE = (
    "ALTER SYSTEM SET shared_preload_libraries = 'pg_stat_statements';  -- then restart the server\n"
    "CREATE EXTENSION IF NOT EXISTS pg_stat_statements;  -- as a superuser, in this database"
)
NOT_LOADED = "55000"
COUNTED = tuple(field.name for field in fields(Counters))
NOTHING = Counters()


@dataclass(frozen=True)
class Key:
    """A statement of a role. queryid is the same for statements that differ in constants alone."""

    queryid: int
    userid: int

    def __str__(self) -> str:
        return f"{self.queryid}:{self.userid}"


@dataclass(frozen=True)
class Entry:
    """A statement of a role, since its counting began."""

    key: Key
    counters: Counters
    text: str  #: as the server has it: at most LONGEST characters, not masked
    role: str
    worst: float  #: milliseconds of its slowest call
    waited: float  #: milliseconds of reading and writing; 0 unless track_io_timing is on
    since: datetime | None  #: when its own counting began; None where the server does not say (before 17)


@dataclass(frozen=True)
class Statistics:
    entries: dict[Key, Entry]
    hidden: int  #: lines of other roles, whose statements this role may not see
    hidden_counters: Counters
    reset_at: datetime | None
    evictions: int
    read_at: datetime


def read(queryid: int | None = None, *, using: str = DEFAULT_DB_ALIAS) -> Statistics:
    """Everything, or one statement in all roles; short queries. Raises NoStatistics, django.db.Error."""
    schema, version = _place(using)
    newer = version >= (1, 11)
    columns = {
        "since": sql.SQL("min(stats_since)" if newer else "NULL::timestamptz"),
        "io": sql.SQL(
            "shared_blk_read_time + shared_blk_write_time" if newer else "blk_read_time + blk_write_time"
        ),
        "longest": sql.Literal(LONGEST),
        "view": sql.Identifier(schema, "pg_stat_statements"),
        "only": sql.SQL("" if queryid is None else "AND queryid = {}").format(sql.Literal(queryid)),
    }
    with connections[using].cursor() as cursor:
        reset_at, evictions, _ = _info(cursor, schema)
        cursor.execute(sql.SQL(READ).format(**columns))
        names = [column.name for column in cursor.description]
        lines = [dict(zip(names, line, strict=True)) for line in cursor.fetchall()]
        # After the reading, so that nothing that was read began after it.
        cursor.execute("SELECT clock_timestamp()")
        (read_at,) = cursor.fetchone()
    entries = {}
    hidden = [line for line in lines if line["queryid"] is None]
    for line in lines:
        if line["queryid"] is not None:
            entry = _entry(line)
            entries[entry.key] = entry
    return Statistics(
        entries,
        sum(line["lines"] for line in hidden),
        total(_counters(line) for line in hidden),
        reset_at,
        evictions,
        read_at,
    )


def info(*, using: str = DEFAULT_DB_ALIAS) -> tuple[datetime | None, int, datetime]:
    """(when they were reset, how often statements were forgotten for want of room, now), without reading any.

    Raises NoStatistics, django.db.Error.
    """
    schema, _ = _place(using)
    with connections[using].cursor() as cursor:
        return _info(cursor, schema)


def whole_text(queryid: int, *, using: str = DEFAULT_DB_ALIAS) -> str:
    """The statement as the server has it, not masked; "" when the server knows it no more."""
    schema, _ = _place(using)
    with connections[using].cursor() as cursor:
        cursor.execute(sql.SQL(TEXT).format(view=sql.Identifier(schema, "pg_stat_statements")), [queryid])
        row = cursor.fetchone()
    return str(row[0]) if row else ""


def why_no_reset(role: str, *, using: str = DEFAULT_DB_ALIAS) -> str:
    """ "" when the statistics can be reset, else the sentence with the statement that allows it."""
    with connections[using].cursor() as cursor:
        cursor.execute(MAY_RESET)
        found = cursor.fetchall()
    if any(allowed for allowed, _ in found):
        return ""
    if not found:
        return "pg_stat_statements is not installed in this database."
    return (
        f"The role {role} may not reset the statistics of statements. A superuser allows it with "
        f"GRANT EXECUTE ON FUNCTION {found[0][1]} TO {sql.Identifier(role).as_string(None)};"
    )


def reset(*, using: str = DEFAULT_DB_ALIAS) -> None:
    """Forget what was counted, of every database of the server."""
    schema, _ = _place(using)
    with connections[using].cursor() as cursor:
        cursor.execute(sql.SQL(RESET).format(function=sql.Identifier(schema, "pg_stat_statements_reset")))


def total(several: Iterable[Counters]) -> Counters:
    return sum(several, NOTHING)


def _place(using: str) -> tuple[str, tuple[int, ...]]:
    """The schema and the version of the extension, which may be older than the server."""
    with connections[using].cursor() as cursor:
        cursor.execute(WHERE)
        row = cursor.fetchone()
    if row is None:
        raise NoStatistics(
            "pg_stat_statements is not installed in this database: nobody knows what statements cost."
        )
    schema, version = row
    return schema, tuple(int(part) for part in version.split(".") if part.isdigit())


def _info(cursor: Any, schema: str) -> tuple[datetime | None, int, datetime]:
    try:
        cursor.execute(sql.SQL(INFO).format(view=sql.Identifier(schema, "pg_stat_statements_info")))
    except DatabaseError as error:
        if getattr(error.__cause__, "sqlstate", None) != NOT_LOADED:
            raise
        raise NoStatistics(
            "pg_stat_statements is installed in this database, but the server was started without it."
        ) from error
    reset_at, evictions, now = cursor.fetchone()
    return reset_at, evictions, now


def _entry(line: dict[str, Any]) -> Entry:
    return Entry(
        Key(line["queryid"], line["userid"]),
        _counters(line),
        line["text"] or "",
        line["role"] or f"role {line['userid']}, which is gone",
        line["worst"] or 0.0,
        line["io_milliseconds"] or 0.0,
        line["since"],
    )


def _counters(line: dict[str, Any]) -> Counters:
    return Counters(*(line[name] or 0 for name in COUNTED))
