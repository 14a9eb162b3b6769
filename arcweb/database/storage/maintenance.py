"""VACUUM, ANALYZE and the building and dropping of indexes, each as one job on a connection of its own.

None of these may run inside a transaction, and a session of a pooler (PgBouncer) keeps nothing beyond one:
so the statement carries the job's number in a comment, by which its backend is found, watched and cancelled.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db import DEFAULT_DB_ALIAS, DatabaseError, connection, connections
from django.db.utils import OperationalError
from psycopg import sql

from arcweb.database.standing import quoted, standing
from arcweb.database.storage import indexes, judged, tables
from arcweb.database.storage.indexes import Index
from arcweb.database.storage.tables import Table
from arcweb.events import Actor, record
from arcweb.events.sentences import describe
from arcweb.jobs import ledger
from arcweb.jobs.context import JobContext
from arcweb.jobs.exceptions import ClaimLost, JobCancelled, JobFailed, RetryLater
from arcweb.jobs.models import Job

KINDS = {
    "vacuum": "postgres-vacuum",
    "analyze": "postgres-analyze",
    "reindex": "postgres-reindex",
    "drop": "postgres-drop-index",
    "create": "postgres-create-index",
}
COMMANDS = {
    "vacuum": "VACUUM (ANALYZE)",
    "analyze": "ANALYZE",
    "reindex": "REINDEX INDEX CONCURRENTLY",
    "drop": "DROP INDEX CONCURRENTLY",
    "create": "CREATE INDEX CONCURRENTLY",
}
#: Seconds between two looks at the backend at work.
LOOK_EVERY = 0.3
#: Seconds that the statement may stand in the queue for its lock; others queue behind it. And those that
#: building an index waits for transactions that began before it, which nobody queues behind.
LOCK_PATIENCE, BUILD_PATIENCE = 30.0, 900.0
#: Seconds for a cancelled backend to end.
END_PATIENCE = 30.0
AGAIN_AFTER = 60.0

describe("postgres.maintenance_started", "started {command} of {object}")
describe("postgres.maintained", "{command} of {object} ended well after {seconds} s")
describe("postgres.maintenance_failed", "{command} of {object} did not end well")

BACKENDS = """
    SELECT pid, coalesce(wait_event_type, ''), coalesce(wait_event, ''), pg_blocking_pids(pid)
    FROM pg_stat_activity
    WHERE query LIKE %s AND state = 'active' AND pid <> pg_backend_pid() AND usename = current_user
"""
PROGRESS = """
    SELECT 'vacuum' AS what, phase, heap_blks_scanned AS done, heap_blks_total AS total,
           NULL::int AS waits_for
    FROM pg_stat_progress_vacuum WHERE pid = ANY (%(pids)s)
    UNION ALL
    SELECT 'analyze', phase, sample_blks_scanned, sample_blks_total, NULL
    FROM pg_stat_progress_analyze WHERE pid = ANY (%(pids)s)
    UNION ALL
    SELECT 'index', phase,
           CASE WHEN lockers_total > 0 AND phase LIKE 'waiting%%' THEN lockers_done
                WHEN blocks_total > 0 THEN blocks_done ELSE tuples_done END,
           CASE WHEN lockers_total > 0 AND phase LIKE 'waiting%%' THEN lockers_total
                WHEN blocks_total > 0 THEN blocks_total ELSE tuples_total END,
           nullif(current_locker_pid, 0)::int
    FROM pg_stat_progress_create_index WHERE pid = ANY (%(pids)s)
"""
UNDER_WAY = """
    SELECT p.pid, p.what, p.phase, p.done, p.total, p.relid::regclass::text AS relation,
           coalesce(a.backend_type, '') AS by, a.query_start AS since
    FROM (
        SELECT pid, 'VACUUM' AS what, phase, heap_blks_scanned AS done, heap_blks_total AS total,
               relid, datname
        FROM pg_stat_progress_vacuum
        UNION ALL
        SELECT pid, 'ANALYZE', phase, sample_blks_scanned, sample_blks_total, relid, datname
        FROM pg_stat_progress_analyze
        UNION ALL
        SELECT pid, command, phase, blocks_done, blocks_total, relid, datname
        FROM pg_stat_progress_create_index
    ) p LEFT JOIN pg_stat_activity a USING (pid)
    WHERE p.datname = current_database()
    ORDER BY a.query_start
"""
# Left by a REINDEX CONCURRENTLY of that index: invalid, of the same columns, and named so by PostgreSQL.
LEFT_OVERS = """
    SELECT n.nspname, c.relname
    FROM pg_index i
    JOIN pg_class c ON c.oid = i.indexrelid
    JOIN pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_index original ON original.indrelid = i.indrelid AND original.indkey = i.indkey
    JOIN pg_class o ON o.oid = original.indexrelid
    WHERE n.nspname = %s AND o.relname = %s AND original.indexrelid <> i.indexrelid
        AND NOT i.indisvalid AND c.relname ~ '_cc(new|old)[0-9]*$'
        AND o.relname !~ '_cc(new|old)[0-9]*$'
        AND NOT EXISTS (SELECT FROM pg_stat_progress_create_index p WHERE p.relid = i.indrelid)
"""
# Sessions in other databases hold nothing back in this one; those in none, as a replica's, do.
HOLDING_BACK = """
    SELECT pid, usename, application_name, age(backend_xmin) AS behind, xact_start
    FROM pg_stat_activity
    WHERE backend_xmin IS NOT NULL AND pid <> pg_backend_pid()
        AND (datname IS NULL OR datname = current_database())
        AND xact_start < statement_timestamp() - interval '1 second'
    ORDER BY age(backend_xmin) DESC
    LIMIT 1
"""


class MaintenanceError(Exception):
    """It cannot be asked for; the message is a sentence with what would allow it."""


@dataclass(frozen=True)
class Running:
    """A VACUUM, ANALYZE or index build at work now, whoever began it."""

    pid: int
    what: str
    phase: str
    done: int
    total: int
    relation: str
    by: str
    since: Any

    @property
    def percent(self) -> int | None:
        return min(100, 100 * self.done // self.total) if self.total else None

    @property
    def automatic(self) -> bool:
        return self.by == "autovacuum worker"


def under_way() -> list[Running]:
    return [Running(**row) for row in tables.rows(UNDER_WAY)]


def jobs() -> list[Job]:
    """The jobs of maintenance that wait or run, the oldest first."""
    return list(Job.objects.active().filter(kind__in=KINDS.values()).order_by("created_at")[:10])


def may_not(table: Table) -> str:
    """Why this role may not VACUUM or ANALYZE that table, with the grant; "" when it may."""
    known = standing()
    if table.may_maintain or known.superuser:
        return ""
    if known.major >= 17:
        return (
            f"The role {known.role} may not maintain {table.full_name}. Its owner {table.owner} allows it "
            "with "
            f"GRANT MAINTAIN ON TABLE {table.quoted} TO {quoted(known.role)};"
        )
    return (
        f"Only its owner {table.owner} may maintain {table.full_name}. A superuser allows it with "
        f"GRANT {quoted(table.owner)} TO {quoted(known.role)};"
    )


def may_not_reindex(one: Index) -> str:
    known = standing()
    if one.may_reindex or known.superuser:
        return ""
    if known.major >= 17:
        return (
            f"The role {known.role} may not rebuild {one.full_name}. The owner of the table allows it with "
            f"GRANT MAINTAIN ON TABLE {one.table_quoted} TO {quoted(known.role)};"
        )
    return f"Only the owner of {one.table_full_name} may rebuild its indexes."


def may_not_drop(one: Index) -> str:
    """Why that index is not dropped from here: nothing speaks against it, or the role may not."""
    if one.guards and one.is_valid:
        return f"{one.full_name} holds rows to a rule ({one.role}): it is never dropped from here."
    if one.is_attached:
        return f"{one.full_name} belongs to an index of a partitioned table: it goes with that one."
    if one.is_built:
        return f"{one.full_name} is being built now."
    if one.is_constraint:
        return (
            f"{one.full_name} belongs to a constraint: it goes with that one (ALTER TABLE … DROP CONSTRAINT)."
        )
    if not (one.owned or standing().superuser):
        return f"Only the owner of {one.full_name} may drop it."
    return ""


def why_drop(one: Index) -> str:
    """The reason there is to drop it, as a sentence; "" when there is none, and then it is not."""
    if not one.is_valid:
        return "It is invalid: no query uses it."
    needless = indexes.covered(indexes.indexes(one.table_oid))
    if one.oid in needless:
        return f"{needless[one.oid].full_name} does what it does."
    since = tables.counted_since()
    if judged.is_unused(one) and not judged.why_unknown(since):
        return f"It was not used once since {since:%Y-%m-%d}."
    return ""


def ask(
    action: str, schema: str, name: str, *, columns: list[str] | None = None, actor: Actor | None = None
) -> Job:
    """Queue it. `name` is a table (vacuum, analyze, create) or an index. Raises MaintenanceError in words."""
    if action in ("vacuum", "analyze", "create"):
        table = tables.table(schema, name)
        if table is None:
            raise MaintenanceError(f"There is no table {schema}.{name} any more.")
        why_not = may_not(table) if action != "create" else ""
        oid, url = table.oid, judged.table_url(schema, name)
    else:
        one = indexes.index(schema, name)
        if one is None:
            raise MaintenanceError(f"There is no index {schema}.{name} any more.")
        why_not = may_not_reindex(one) if action == "reindex" else may_not_drop(one)
        if action == "drop" and not why_not and not why_drop(one):
            why_not = (
                f"{one.full_name} is in use, and nothing else does its work: it is not dropped from here."
            )
        oid, url = one.table_oid, judged.table_url(schema, one.table_name)
    if action == "create":
        wanted = next(
            (
                k
                for k in indexes.unindexed()
                if (k.schema, k.table_name, list(k.columns)) == (schema, name, columns)
            ),
            None,
        )
        if wanted is None:
            raise MaintenanceError(f"No foreign key of {schema}.{name} lacks an index on those columns now.")
        if not (wanted.owned or standing().superuser):
            why_not = f"Only the owner of {schema}.{name} may give it an index."
    if why_not:
        raise MaintenanceError(why_not)
    return ledger.enqueue(
        KINDS[action],
        target=f"{schema}.{name}",
        target_url=url,
        title=f"{COMMANDS[action]} {schema}.{name}",
        params={"action": action, "schema": schema, "name": name, "columns": columns or []},
        unique_key=f"postgres-maintain:{oid}:{action}:{name}",
        actor=actor,
    )


def run(context: JobContext) -> dict[str, Any]:
    """Do what the job says. Safe to run again: what an earlier run left is ended and cleaned up first."""
    action, schema, name = (context.params[key] for key in ("action", "schema", "name"))
    target = sql.Identifier(schema, name)
    began = time.monotonic()
    facts: dict[str, Any] = {"command": COMMANDS[action]}

    def tell(kind: str, note: str = "") -> None:
        name_of = f"{schema}.{name}"
        record(kind, object_type="postgres.relation", object_id=name_of, label=name_of, data=facts, note=note)

    _end_earlier(context)
    before = None
    statement = sql.SQL(COMMANDS[action]) + sql.SQL(" ") + target
    if action in ("vacuum", "analyze"):
        if (before := tables.table(schema, name)) is None:
            raise JobFailed(f"There is no table {schema}.{name} any more.")
        if why_not := may_not(before):
            raise JobFailed(why_not)  # PostgreSQL would skip it with a warning, and all would look well
    elif action == "create":
        if (wanted := _create(schema, name, context.params["columns"])) is None:
            return {"index": "another one serves the foreign key by now"}
        statement = wanted
    elif (one := indexes.index(schema, name)) is None:
        if action == "drop":
            return {"index": "it is gone"}  # an earlier run's work
        raise JobFailed(f"There is no index {schema}.{name} any more.")
    elif action == "drop":
        if why_not := may_not_drop(one):
            raise JobFailed(why_not)
        if not why_drop(one):
            raise JobFailed(f"{schema}.{name} is in use by now, and nothing else does its work: it stays.")
        facts["definition"] = one.definition
    tell("postgres.maintenance_started")
    try:
        if action == "reindex":
            _clean(context, schema, name)
        watch(context, statement)
        left = _clean(context, schema, name) if action == "reindex" else []
    except (ClaimLost, RetryLater):
        raise
    except JobCancelled:
        tell("postgres.maintenance_failed", "It was cancelled.")
        raise
    except JobFailed as error:
        tell("postgres.maintenance_failed", str(error))
        raise
    facts["seconds"] = round(time.monotonic() - began, 1)
    tell("postgres.maintained")
    result: dict[str, Any] = {"seconds": facts["seconds"]}
    if action == "vacuum" and before is not None:
        result |= _after_vacuum(before)
    if left:
        result["left over"] = ", ".join(left)
    if "definition" in facts:
        result["to have it back"] = facts["definition"]
    return result


def watch(context: JobContext, statement: sql.Composable) -> None:
    """Run it on a connection of its own, follow it, and cancel its backend when the job is to stop.

    Raises JobFailed with PostgreSQL's words, RetryLater when its lock was not to be had, JobCancelled.
    """
    marker = _marker(context.id)
    error: list[BaseException] = []
    done = threading.Event()

    def work() -> None:
        own: Any = connections[DEFAULT_DB_ALIAS].copy()
        try:
            with own.cursor() as cursor:
                cursor.execute("SELECT current_setting('statement_timeout') <> '0'")
                if cursor.fetchone()[0]:
                    cursor.execute("SET statement_timeout = 0")
                text = statement.as_string(cursor.connection)
                cursor.execute(f"{marker} {text}")
        except BaseException as problem:  # noqa: BLE001 - raised again by who waits
            error.append(problem)
        finally:
            own.close()
            done.set()

    thread = threading.Thread(target=work, name=f"maintenance-{context.id}", daemon=True)
    thread.start()
    waits = 0.0
    gave_up = ""
    while not done.wait(LOOK_EVERY):
        try:
            said, waiting, building = _look(marker)
            context.progress(*said)
            waits = waits + LOOK_EVERY if waiting else 0.0
            if waits > (BUILD_PATIENCE if building else LOCK_PATIENCE) and not gave_up:
                gave_up = said[2]
                _cancel(marker)
        except (JobCancelled, ClaimLost):
            _cancel_until(marker, done)
            raise
    if not error:
        return
    if gave_up:
        raise RetryLater(
            AGAIN_AFTER, f"It was given up after {waits:.0f} s: {gave_up}. Nothing waits for it now."
        )
    problem = error[0]
    if isinstance(problem, DatabaseError) and not _is_lost(problem):
        raise JobFailed(f"PostgreSQL says: {str(problem).strip().splitlines()[0]}") from problem
    raise problem


def _look(marker: str) -> tuple[tuple[int, int | None, str], bool, bool]:
    """(done, total, words), whether it waits for a lock, and whether it does so while building an index."""
    with connection.cursor() as cursor:
        cursor.execute(BACKENDS, [f"{marker}%"])
        found = cursor.fetchall()
        if not found:
            return (0, None, ""), False, False
        pid, kind, _, blocking = found[0]
        cursor.execute(PROGRESS, {"pids": [pid]})
        progress = cursor.fetchone()
    words, done, total = "", 0, None
    building = False
    if progress is not None:
        what, words, done, total, waits_for = progress
        building = what == "index" and words.startswith("waiting")
        if waits_for:
            words = f"{words}: session {waits_for}"
    waiting = kind == "Lock"
    if waiting and not building:
        words = f"waits for its lock behind session {', '.join(map(str, blocking)) or 'unknown'}"
    return (done or 0, total or None, words), waiting, building


def _cancel(marker: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(BACKENDS, [f"{marker}%"])
        for pid, *_ in cursor.fetchall():
            cursor.execute("SELECT pg_cancel_backend(%s)", [pid])


def _cancel_until(marker: str, done: threading.Event) -> None:
    """Asked again: a cancel that comes between two statements is lost."""
    end = time.monotonic() + END_PATIENCE
    while True:
        _cancel(marker)
        if done.wait(0.5) or time.monotonic() > end:
            return


def _end_earlier(context: JobContext) -> None:
    """What a worker that died had begun goes on in its backend: it is ended before it is begun again."""
    marker = _marker(context.id)
    end = time.monotonic() + END_PATIENCE
    while _at_work(marker):
        if time.monotonic() > end:
            raise RetryLater(AGAIN_AFTER, "An earlier run of it is still at work in the database.")
        _cancel(marker)
        context.wait(0.5)


def _at_work(marker: str) -> bool:
    with connection.cursor() as cursor:
        cursor.execute(BACKENDS, [f"{marker}%"])
        return cursor.fetchone() is not None


def _clean(context: JobContext, schema: str, name: str) -> list[str]:
    """Drop what an unfinished REINDEX CONCURRENTLY of that index left; returns what could not be dropped."""
    with connection.cursor() as cursor:
        cursor.execute(LEFT_OVERS, [schema, name])
        found = cursor.fetchall()
    left = []
    for each in found:
        try:
            watch(context, sql.SQL("DROP INDEX CONCURRENTLY IF EXISTS {}").format(sql.Identifier(*each)))
        except (JobFailed, RetryLater):
            left.append(".".join(each))
    return left


def _create(schema: str, name: str, columns: list[str]) -> sql.Composed | None:
    """None when the foreign key has its index by now."""
    wanted = any(
        (k.schema, k.table_name, list(k.columns)) == (schema, name, columns) for k in indexes.unindexed()
    )
    if not wanted:
        return None
    # An earlier run's index, cancelled half-way, is invalid and would be left beside the new one.
    # PostgreSQL cuts a name at 63 bytes, and would not find it again by what was cut.
    index = "_".join(["idx", name, *columns]).encode()[:55].decode(errors="ignore")
    known = indexes.index(schema, index)
    if known is not None:
        if known.is_valid:
            index = f"{index}_fk"
        else:
            return sql.SQL("REINDEX INDEX CONCURRENTLY {}").format(sql.Identifier(schema, index))
    return sql.SQL("CREATE INDEX CONCURRENTLY {} ON {} ({})").format(
        sql.Identifier(index), sql.Identifier(schema, name), sql.SQL(", ").join(map(sql.Identifier, columns))
    )


def _after_vacuum(before: Table) -> dict[str, Any]:
    """What it brought, and who holds back what it could not remove."""
    after = tables.table(before.schema, before.name)
    if after is None:
        return {}
    result: dict[str, Any] = {"dead rows before": before.dead, "dead rows after": after.dead}
    if after.dead >= judged.DEAD_LEAST and after.dead > after.vacuum_at:
        with connection.cursor() as cursor:
            cursor.execute(HOLDING_BACK)
            oldest = cursor.fetchone()
        result["held back"] = (
            f"by the transaction of session {oldest[0]} ({oldest[1]}, "
            f"{oldest[2] or 'no application name'}), open "
            f"since {oldest[4]:%Y-%m-%d %H:%M} UTC: end it, then vacuum again"
            if oldest
            else "by a transaction, replication slot or prepared transaction that is not seen here"
        )
    return result


def _marker(job: UUID) -> str:
    return f"/* arcweb maintenance {job} */"


def _is_lost(problem: DatabaseError) -> bool:
    """Whether the connection went away, rather than the statement being refused."""
    code = getattr(problem.__cause__, "sqlstate", None)
    return isinstance(problem, OperationalError) and (code is None or code[:2] in ("08", "57", "53"))
