"""The plan of a statement, for people who may type any: what reads is explained, all else is refused.

What holds what:

- One statement: it is parsed by the extended protocol, where the server refuses two. It stands behind
  "EXPLAIN (…) ", whose options are closed before it begins.
- It only reads: the server's own parser says so, not this module. The statement is parsed there (the Parse
  message alone: neither planned nor run) with debug_print_rewritten, and the tree comes back as a notice:
  views are opened in it, row security is added, every function has its number. Each query in it has to be a
  SELECT without row locks: no INSERT, UPDATE, DELETE, MERGE in a WITH either, no SELECT INTO, no COPY, no
  other command. Without that tree nothing is explained. The first word is looked at before only to answer
  at once. The tree leaves a line in the server's log; the setting cannot be separated from that.
- It calls only functions that are known to do nothing but compute: a read-only transaction does not stop
  pg_terminate_backend, pg_reload_conf, advisory locks, pg_notify, set_config, dblink, pg_read_file or nextval
  of a temporary sequence. So every function of the tree, behind operators and in aggregates too, is looked up
  in the catalog and has to be one of: PostgreSQL's own and not volatile (but for the few that run a query
  which they are given); its own volatile ones of HARMLESS; an extension's written in C and immutable, or of
  KNOWN_EXTENSIONS and not volatile. Functions that somebody wrote for this database are refused: what they do
  is not known here. So are foreign tables (another server runs a part) and domains (their checks call
  functions that the tree does not show), also within arrays, rows and ranges; a literal of these is read by
  the parser itself, so that the checks of a domain in it have run by then. What only a superuser can make is
  trusted: input and output functions of types, operator classes, what lies in pg_catalog.
- Should something slip through, it runs in a READ ONLY transaction that is always rolled back: no table is
  written, and a setting that it changed is undone. The transaction cannot be made writable any more, as it
  has taken its snapshot. The connection is its own and is closed afterwards: session locks and temporary
  things go with it.
- It ends: statement_timeout and lock_timeout in the transaction, and a connection that is silent beyond it
  is given up. What it takes until then is bounded by the server alone: temporary files by temp_file_limit
  where a superuser has set it, memory by nothing. repeat() makes a gigabyte of a few letters, in plans too.
- Without ANALYZE it is not run at all. With ANALYZE it is. Errors of planning, which computes what is
  constant and reads settings for it, and of the run are not repeated, but for the few that hold no value: a
  cast that fails would show the value it failed at, and the name of a table may be such a value as well.
  Row counts and times remain: whoever has the permission explain_statement can find out by them what
  tables hold.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
from django.db import DEFAULT_DB_ALIAS, OperationalError, connections
from psycopg import generators
from psycopg.pq import ExecStatus

from arcweb.database.queries.lexer import first_word
from arcweb.database.queries.texts import parameters

#: Characters; a vector of 1,536 numbers takes about 20,000.
LONGEST = 100_000
#: Seconds that planning may take, and running.
PLAN_SECONDS, RUN_SECONDS = 2.0, 5.0
MARGIN = 1.0
#: Words with which a statement may begin.
READS = ("SELECT", "WITH", "VALUES", "TABLE")
#: PostgreSQL's volatile functions that read a clock, chance or a size, and do nothing else.
HARMLESS = {
    "random", "random_normal", "clock_timestamp", "timeofday", "gen_random_uuid", "uuidv4", "uuidv7",
    "bernoulli", "system", "pg_relation_size", "pg_table_size", "pg_indexes_size", "pg_total_relation_size",
    "pg_database_size", "pg_lock_status", "pg_blocking_pids", "pg_is_in_recovery", "pg_current_wal_lsn",
}  # fmt: skip
#: PostgreSQL's functions that are not volatile, yet run a query or read a table that they are given.
RUN_WHAT_THEY_GET = re.compile(
    r"_to_xml|_to_xmlschema|_xml_and_xmlschema|^ts_stat|^ts_rewrite|^txid_current$|^pg_current_xact_id$"
    # These read a value of whatever type they are told.
    r"|^pg_input_|^(?:domain|array|record|range|multirange)_(?:in|recv)$"
)
#: Extensions whose stable functions depend on settings and dictionaries only.
KNOWN_EXTENSIONS = {"vector", "pg_trgm", "unaccent"}
SETTINGS = """
    SELECT set_config('statement_timeout', %s, true),
           set_config('lock_timeout', '1s', true),
           set_config('idle_in_transaction_session_timeout', '30s', true)
"""
LISTEN = """
    SELECT set_config('debug_print_rewritten', %s, true), set_config('debug_pretty_print', 'off', true),
           set_config('client_min_messages', %s, true)
"""
#: Errors after the parse whose words hold no value: a table that may not be read, what is not supported,
#: and what is too large for the server.
REPEATED = {"42501", "0A000", "53200", "53400", "54000", "54001"}
TREE = "rewritten parse tree"
FUNCTION = re.compile(r":(?:funcid|opfuncid|aggfnoid|winfnoid|tsmhandler) (\d+)")
OPERATOR = re.compile(r":(?:opno|eqop|sortop) (\d+)|:opnos \(o ([\d ]+)\)")
RELATION = re.compile(r":relid (\d+)")
RESULT = re.compile(r":(?:resulttype|funcresulttype|typid) (\d+)|:(?:coltypes|funccoltypes) \(o ([\d ]+)\)")
USED = """
    WITH RECURSIVE used (id) AS (
        SELECT unnest(%(functions)s::oid[])
        UNION
        SELECT oprcode::oid FROM pg_operator WHERE oid = ANY (%(operators)s::oid[])
        UNION
        SELECT part FROM used
        JOIN pg_aggregate ON aggfnoid = id,
             unnest(ARRAY[aggtransfn, aggfinalfn, aggcombinefn, aggserialfn, aggdeserialfn, aggmtransfn,
                          aggminvtransfn, aggmfinalfn]::oid[]) AS part
    )
    SELECT pg_proc.oid::regprocedure::text, proname::text, nspname = 'pg_catalog', provolatile::text,
           lanname IN ('internal', 'c'), extname::text
    FROM used
    JOIN pg_proc ON pg_proc.oid = id
    JOIN pg_namespace ON pg_namespace.oid = pronamespace
    JOIN pg_language ON pg_language.oid = prolang
    LEFT JOIN pg_depend ON pg_depend.classid = 'pg_proc'::regclass AND objid = pg_proc.oid AND deptype = 'e'
                       AND refclassid = 'pg_extension'::regclass
    LEFT JOIN pg_extension ON pg_extension.oid = refobjid
    ORDER BY 1
"""
FOREIGN = """
    WITH RECURSIVE read (id) AS (
        SELECT unnest(%(relations)s::oid[])
        UNION
        SELECT inhrelid FROM read JOIN pg_inherits ON inhparent = id
    )
    SELECT pg_class.oid::regclass::text FROM read JOIN pg_class ON pg_class.oid = id AND relkind = 'f' LIMIT 1
"""
DOMAINS = """
    WITH RECURSIVE made (id) AS (
        SELECT unnest(%(types)s::oid[])
        UNION
        SELECT part FROM made JOIN pg_type ON pg_type.oid = id, LATERAL (
            SELECT typelem AS part
            UNION ALL SELECT atttypid FROM pg_attribute WHERE attrelid = typrelid AND attnum > 0
            UNION ALL SELECT rngsubtype FROM pg_range WHERE id IN (rngtypid, rngmultitypid)
        ) AS parts
    )
    SELECT oid::regtype::text FROM made JOIN pg_type ON pg_type.oid = id
    WHERE typtype = 'd' AND typnamespace <> 'information_schema'::regnamespace
    LIMIT 1
"""


class Refused(Exception):  # noqa: N818 - it is an answer
    """The statement is not explained; its text is a sentence that says why and what to do."""


@dataclass(frozen=True)
class Explained:
    """`answer` is EXPLAIN's JSON: {"Plan": …, "Planning Time": …, …}. Times in it are milliseconds."""

    answer: dict[str, Any]
    analyzed: bool
    generic: bool  #: planned for any values of $1 …


def explain(statement: str, *, analyze: bool = False, using: str = DEFAULT_DB_ALIAS) -> Explained:
    """Over a connection of its own. analyze: run it, for at most RUN_SECONDS.

    Raises Refused, and django.db.OperationalError while the server is away.
    """
    _look_at(statement, analyze=analyze)
    with line(using) as raw:
        return on(raw, statement, analyze=analyze)


@contextmanager
def line(using: str = DEFAULT_DB_ALIAS) -> Iterator[Any]:
    """A connection for `on`, closed in the end."""
    own: Any = connections[using].copy()
    try:
        own.ensure_connection()
        with own.patience(PLAN_SECONDS + RUN_SECONDS + MARGIN):
            yield own.connection
    finally:
        own.close()


def on(raw: Any, statement: str, *, analyze: bool = False) -> Explained:
    """`explain` on a connection of `line`; several may follow one another. Each has its own transaction."""
    _look_at(statement, analyze=analyze)
    generic = parameters(statement)
    parsed = False
    try:
        raw.execute("BEGIN TRANSACTION READ ONLY")
        try:
            if generic and raw.info.server_version < 160000:
                raise Refused(
                    "A plan for any values of $1 needs PostgreSQL 16 or later: type values instead of them."
                )
            _limit(raw, PLAN_SECONDS)
            _judge(raw, _tree(raw, statement))
            parsed = True
            if analyze:
                _limit(raw, RUN_SECONDS)
            answer = _answer(raw, statement, analyze=analyze, generic=generic)
        finally:
            if not raw.closed:
                raw.execute("ROLLBACK")
    except psycopg.Error as error:
        if error.sqlstate is None:
            raise OperationalError(str(error)) from error
        raise Refused(_said(error, statement, parsed=parsed, analyze=analyze)) from error
    return Explained(answer, analyze, generic)


def _look_at(statement: str, *, analyze: bool) -> None:
    """What needs no server to be refused."""
    if not statement.strip():
        raise Refused("There is no statement to explain: type one that begins with SELECT.")
    if len(statement) > LONGEST or "\x00" in statement:
        raise Refused(f"A statement has at most {LONGEST:,} characters, and no NUL among them.")
    word = first_word(statement)
    if word not in READS:
        raise Refused(
            f"{word or 'This'} is not explained here: only a statement that reads is, which begins with "
            f"{', '.join(READS[:-1])} or {READS[-1]}. Nothing was run."
        )
    if analyze and parameters(statement):
        raise Refused("To be measured a statement needs values: put them where $1 and the others stand.")


def _limit(raw: Any, seconds: float) -> None:
    raw.execute(SETTINGS, [f"{int(seconds * 1000)}ms"])


def _tree(raw: Any, statement: str) -> str:
    """How the server's parser understands the statement, which is neither planned nor run."""
    trees: list[str] = []

    def hear(said: psycopg.errors.Diagnostic) -> None:
        if (said.message_primary or "").startswith(TREE):
            trees.append(said.message_detail or "")

    raw.add_notice_handler(hear)
    try:
        raw.execute(LISTEN, ["on", "log"])
        trees.clear()  # that of the settings themselves
        raw.pgconn.send_prepare(b"", statement.encode())
        [result, *_] = raw.wait(generators.execute(raw.pgconn))
        if result.status != ExecStatus.COMMAND_OK:
            raise psycopg.errors.error_from_result(result)
        found = list(trees)
    finally:
        raw.remove_notice_handler(hear)
    raw.execute(LISTEN, ["off", "warning"])
    if len(found) != 1:
        raise Refused(
            "The server does not tell how it reads a statement (debug_print_rewritten), so that it cannot be "
            "known what this one does. Nothing was run."
        )
    return " ".join(found[0].split())


def _judge(raw: Any, tree: str) -> None:
    commands = re.findall(r":commandType (\d+)", tree)
    if not commands or set(commands) != {"1"} or ":hasModifyingCTE true" in tree:
        raise Refused("The statement changes something, in one of its parts at least. Nothing was run.")
    if ":hasForUpdate true" in tree or "{ROWMARKCLAUSE" in tree:
        raise Refused("The statement locks rows (FOR UPDATE or FOR SHARE): leave that out. Nothing was run.")
    functions = [int(found) for found in FUNCTION.findall(tree)]
    operators, types = (
        [int(one) for found in pattern.findall(tree) for one in " ".join(found).split()]
        for pattern in (OPERATOR, RESULT)
    )
    with raw.cursor() as cursor:
        cursor.execute(USED, {"functions": functions, "operators": operators})
        for signature, *facts in cursor.fetchall():
            if why := _why_not(*facts):
                raise Refused(f"The statement calls {signature}, {why} Nothing was run.")
        cursor.execute(FOREIGN, {"relations": [int(found) for found in RELATION.findall(tree)]})
        for (name,) in cursor.fetchall():
            raise Refused(f"{name} is a table of another server, which would have a part in it.")
        cursor.execute(DOMAINS, {"types": types})
        for (name,) in cursor.fetchall():
            raise Refused(f"The type {name} is a domain, whose checks may do anything. Nothing was run.")


def _why_not(name: str, own: bool, volatility: str, native: bool, extension: str | None) -> str:
    """ "" for a function that only computes, else what is wrong with it."""
    if own:
        if RUN_WHAT_THEY_GET.search(name):
            return "which runs what it is given."
        if volatility == "v" and name not in HARMLESS:
            return "which may do more than read."
        return ""
    if extension is None or not native:
        return "a function made for this database: what it does is not known here."
    if volatility == "i" or (volatility == "s" and extension in KNOWN_EXTENSIONS):
        return ""
    return f"of the extension {extension}, which may do more than read."


def _answer(raw: Any, statement: str, *, analyze: bool, generic: bool) -> dict[str, Any]:
    options: Sequence[str] = (
        "FORMAT JSON",
        "VERBOSE",
        "SETTINGS",
        *(["ANALYZE", "BUFFERS", "WAL"] if analyze else []),
        *(["GENERIC_PLAN"] if generic else []),
    )
    # RawCursor leaves % alone; binary results make it use the extended protocol, without parameters too. A
    # generic plan is made without values, which only the simple protocol can do: nothing is run for it.
    with psycopg.RawCursor(raw) as cursor:
        cursor.execute(f"EXPLAIN ({', '.join(options)})\n{statement}", binary=not generic)
        row: Any = cursor.fetchone()
    return dict(row[0][0])


def _said(error: psycopg.Error, statement: str, *, parsed: bool, analyze: bool) -> str:
    diagnosis = error.diag
    if error.sqlstate == "57014":
        return f"It did not end within {RUN_SECONDS if analyze else PLAN_SECONDS:g} s and was stopped."
    if error.sqlstate == "55P03":
        return "Somebody holds a lock on a table that it reads, and it waited for a second. Try again."
    if parsed and error.sqlstate not in REPEATED:
        when = "ran" if analyze else "was planned"
        return (
            f"It failed while it {when}, with SQLSTATE {error.sqlstate}. What PostgreSQL says of it may hold "
            "data and is not repeated here."
        )
    place = int(diagnosis.statement_position or 0)
    where = f" (at “{statement[place - 1 : place + 19].strip()}”)" if 0 < place <= len(statement) else ""
    return f"PostgreSQL says: {diagnosis.message_primary}{where}. Nothing was changed."
