"""Parts of a copy, into the live database: one agent with its memories, one table into a schema of its own.

The copy is restored into a scratch database first; nothing of it runs in live. What goes into live goes in
one transaction, with its event.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import psycopg
from django.conf import settings
from psycopg import sql

from arcweb.backups import content, erasures, scratch, server
from arcweb.backups.exceptions import BackupError
from arcweb.backups.proving import loading as proving
from arcweb.backups.restore import agent_rows, databases, loading, migrating, streaming, telling
from arcweb.backups.restore.running import folder
from arcweb.backups.restore.source import Source
from arcweb.events import log
from arcweb.events.actors import current_actor

Connection = psycopg.Connection[Any]
#: What `restored_<date>` is followed by when that schema has the table already.
MOST_SCHEMAS = 100


#: What a job has restored already.
DONE = """
    SELECT data, agent_id::text FROM events.events
    WHERE kind = 'restore.part' AND object_type = %s AND object_id = %s AND data ->> 'job' = %s
    ORDER BY id LIMIT 1
"""


def restore_agent(source: Source, agent: str, *, name: str = "", job: str = "") -> dict[str, Any]:
    """The agent of that id (or exact name) with all that hangs on it, as it was; with `name`: as a new agent
    of that name, every row under a new id. Raises BackupError: nothing is changed then.

    As it was, an agent that live has is a conflict: delete it first, or take a copy under another name. Rows
    of others that stand in the way (a memory moved to another agent, say) are named. job: an id, under which
    it is restored once, however often this is called.
    """
    with folder().locked("a part of a copy"):
        if done := _done(source, job):
            data, there = done
            return {"agent": there, "name": name, "rows": data["rows"], "sentence": _again(data)}
        return _restore_agent(source, agent, name, job)


def _restore_agent(source: Source, agent: str, name: str, job: str) -> dict[str, Any]:
    with _scratch(source) as copy:
        chosen = agent_rows.find(copy, agent)
        rows = agent_rows.collect(copy, chosen.id)
        with databases.connected(databases.live_name(), autocommit=False) as live:
            if name:
                given = agent_rows.as_copy(copy, live, rows, name)
            else:
                given = agent_rows.as_it_was(copy, live, rows, chosen)
            counts = {table: count for table, count in given.counts.items() if count}
            what = f"the agent {chosen.name}" + (f" as {name}" if name else "")
            _tell(live, source, what, counts, job, agent_id=given.agent)
            live.commit()
    listed = ", ".join(
        f"{count:,} row{'' if count == 1 else 's'} of {table}" for table, count in counts.items()
    )
    return {
        "agent": given.agent,
        "name": name or chosen.name,
        "rows": counts,
        "sentence": f"Restored {what} (id {given.agent}): {listed}.{_without(given.left_out)}",
    }


def _without(columns: list[str]) -> str:
    return f" Left out, for live does not have them: {', '.join(columns)}." if columns else ""


def restore_table(source: Source, table: str, *, job: str = "") -> dict[str, Any]:
    """That table ("schema.table") with its rows into a new schema restored_<date> of live.

    Columns, what they are generated from and the primary key come along; defaults, foreign keys, triggers and
    other indexes do not: the table is there to be looked at and copied from. job: as of `restore_agent`.
    Raises BackupError.
    """
    schema, _, short = table.partition(".")
    if not short:
        raise BackupError(f"{table!r} is no table: write it with its schema, as agents.memories.")
    with folder().locked("a part of a copy"):
        if done := _done(source, job):
            data, _ = done
            return {"table": data["part"].rpartition(" ")[2], **data["rows"], "sentence": _again(data)}
        return _restore_table(source, schema, short, job)


def _restore_table(source: Source, schema: str, short: str, job: str) -> dict[str, Any]:
    table = f"{schema}.{short}"
    with _scratch(source) as copy:
        if streaming.oid(copy, schema, short) is None:
            known = ", ".join(one.qualified for one in content.relations(copy)[:20])
            raise BackupError(f"The copy holds no table {table}. It has {known}.")
        with databases.connected(databases.live_name(), autocommit=False) as live:
            place = _new_schema(live, short)
            target = sql.Identifier(place, short)
            live.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(place)))
            for statement in streaming.definition(copy, schema, short, place):
                live.execute(statement)
            rows = streaming.stream(copy, live, sql.Identifier(schema, short), target)
            for statement in streaming.keys(copy, schema, short, place):
                live.execute(statement)
            _tell(live, source, f"the table {table} as {place}.{short}", {"rows": rows}, job)
            live.commit()
    return {
        "table": f"{place}.{short}",
        "rows": rows,
        "sentence": f"Restored {table} as {place}.{short}: {rows:,} rows. Drop it when you are done.",
    }


def _done(source: Source, job: str) -> tuple[dict[str, Any], str] | None:
    """What an earlier run of that job has committed: its event stands in the same transaction."""
    if not job:
        return None
    with databases.connected(databases.live_name()) as live:
        return live.execute(DONE, [telling.TYPE, source.backup, job]).fetchone()


def _again(data: dict[str, Any]) -> str:
    return f"Restored {data['part']}: an earlier run of this job had done it."


@contextmanager
def _scratch(source: Source) -> Iterator[Connection]:
    """A connection to a scratch database that holds the copy, in this version's schema."""
    if source.plain and not source.trusted:
        raise BackupError(f"{source.path.name} is SQL text from outside, which may do anything.")
    with scratch.database("restore of a part") as name:
        source.check()
        with source.unpacked() as dump:
            watch = loading.keeping_reserve()
            proving.load(dump, name, trusted=source.trusted, plain=source.plain, watch=watch)
        if source.manifest is None or not source.manifest.scope:
            migrating.bring_forward(name)
        else:
            migrating.refuse_newer(source.manifest.migrations)
        with databases.connected(name) as copy:
            _erase(copy, source)
            yield copy


def _erase(copy: Connection, source: Source) -> None:
    """What was erased since does not come back by a part either: under a new id nothing would find it."""
    try:
        with copy.transaction():
            erasures.apply(copy, erasures.newer_than(settings.ARC_BACKUP_DIR, source.since))
    except psycopg.Error as error:
        raise BackupError(
            f"What was erased since could not be erased from the copy, so that nothing of it is restored: "
            f"{server.first_line(error)}"
        ) from error


def _new_schema(live: Connection, table: str) -> str:
    today = datetime.now(UTC).strftime("%Y_%m_%d")
    for number in range(1, MOST_SCHEMAS):
        name = f"restored_{today}" + (f"_{number}" if number > 1 else "")
        if streaming.oid(live, name, table) is None:
            return name
    raise BackupError(
        f"{table} was restored {MOST_SCHEMAS} times today: drop some of the schemas restored_{today}…."
    )


def _tell(
    live: Connection,
    source: Source,
    part: str,
    rows: dict[str, Any],
    job: str,
    *,
    agent_id: str | None = None,
) -> None:
    """The event of it, in the same transaction."""
    live.execute(
        *log.statement(
            "restore.part",
            actor=current_actor(),
            object_type=telling.TYPE,
            object_id=source.backup,
            agent_id=agent_id,
            data={"part": re.sub(r"\s+", " ", part), "rows": rows} | ({"job": job} if job else {}),
            label=source.path.name,
            note="",
        )
    )
