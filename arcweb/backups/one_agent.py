"""A copy of one agent: its row of agents.agents and every row of the schema that hangs on it.

pg_dump chooses tables, not rows. So the agent's rows are put, under the snapshot, into a scratch database
with the same tables, and that database is dumped: the copy is one like every other, verified and restored the
same way, and may come from outside as every custom dump may. Nothing is written into the application's own.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import psycopg
from django.db import connection
from psycopg import sql

from arcweb.backups import content, leftovers, scratch, server, snapshot
from arcweb.backups.exceptions import BackupError
from arcweb.backups.manifest import Manifest
from arcweb.backups.processes import passfile, postgres_env, run, running
from arcweb.backups.taking import Work

SCHEMA, ROOT = "agents", "agents"
#: Seconds between two looks whether a program has ended, or the work is to stop.
LOOK = 0.1
#: They take minutes to build, and the database that an agent is restored into has its own.
APPROXIMATE = ("hnsw", "ivfflat")
#: Foreign keys between tables of the schema, with the columns on both sides.
KEYS = """
    SELECT c.conrelid, c.confrelid,
           (SELECT array_agg(a.attname::text ORDER BY k.place)
            FROM unnest(c.conkey) WITH ORDINALITY AS k (num, place)
            JOIN pg_attribute AS a ON a.attrelid = c.conrelid AND a.attnum = k.num),
           (SELECT array_agg(a.attname::text ORDER BY k.place)
            FROM unnest(c.confkey) WITH ORDINALITY AS k (num, place)
            JOIN pg_attribute AS a ON a.attrelid = c.confrelid AND a.attnum = k.num)
    FROM pg_constraint AS c
    WHERE c.contype = 'f' AND c.conrelid = ANY (%s::oid[]) AND c.confrelid = ANY (%s::oid[])
      AND c.conrelid <> c.confrelid
    ORDER BY c.oid
"""
# Binary where it means the same in every database: types of users, and arrays of them, carry their oids.
COLUMNS = """
    SELECT array_agg(a.attname::text ORDER BY a.attnum),
           bool_and(t.oid < 16384 OR (t.typtype = 'b' AND t.typcategory <> 'A'))
    FROM pg_attribute AS a JOIN pg_type AS t ON t.oid = a.atttypid
    WHERE a.attrelid = %s AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
"""
INDEXES = """
    SELECT c.relname FROM pg_class AS c JOIN pg_am AS m ON m.oid = c.relam
    JOIN pg_namespace AS n ON n.oid = c.relnamespace
    WHERE n.nspname = %s AND c.relkind IN ('i', 'I') AND m.amname = ANY (%s)
"""
#: Ids that a sentence names.
MOST_NAMED = 3
Conditions = dict[int, sql.Composable]


def matching(cursor: Any, said: str) -> list[tuple[str, str]]:
    """Id and name of every agent of that id, else of that name, in the cursor's database."""
    try:
        cursor.execute("SELECT id::text, name FROM agents.agents WHERE id = %s", [uuid.UUID(said)])
    except ValueError:
        cursor.execute("SELECT id::text, name FROM agents.agents WHERE name = %s", [said])
    return list(cursor.fetchall())


def identify(said: str) -> str:
    """The id of the live agent that has this id, or alone bears this name. Raises BackupError."""
    with connection.cursor() as cursor:
        found = matching(cursor, said)
    if len(found) == 1:
        return found[0][0]
    if found:
        ids = ", ".join(id_ for id_, _ in found[:MOST_NAMED])
        raise BackupError(f"Several agents are called {said!r}: give the id of one ({ids}).")
    raise BackupError(f"There is no agent with this name or id: {said}.")


class Dump(Protocol):
    def __call__(
        self,
        work: Work,
        held: snapshot.Snapshot,
        *,
        schema: str,
        database: str,
        original: snapshot.Snapshot,
        notes: list[str],
    ) -> Manifest: ...


def take(work: Work, dump: Dump) -> Manifest:
    """The copy of the agent that the scope names. Raises BackupError when there is none."""
    agent = _id(work.options.scope["agent"])
    work.say("waiting for the tables' locks")
    with snapshot.hold(SCHEMA, work.check) as held:
        conditions, left = choose(held, agent)
        work.say("choosing the agent's rows")
        indexes = [name for (name,) in held.connection.execute(INDEXES, [SCHEMA, list(APPROXIMATE)])]
        wanted = content.look(held.connection, schema=SCHEMA, only=conditions)
        if not any(table.name == ROOT and table.rows for table in wanted.tables):
            raise BackupError(f"There is no agent with the id {agent}.")
        with scratch.database("backup of one agent") as name, _folder(work) as folder:
            _fill(work, held, name, folder, conditions, indexes)
            with snapshot.hold(SCHEMA, work.check, database=name) as filled:
                notes = [_without(indexes)] if indexes else []
                notes += [
                    f"{one.qualified} hangs on no agent: its rows are not in this copy." for one in left
                ]
                manifest = dump(work, filled, schema=SCHEMA, database=name, original=held, notes=notes)
    found = {(table.schema, table.name): table for table in manifest.tables}
    differing = [
        f"{table.schema}.{table.name}"
        for table in wanted.tables
        if (there := found.get((table.schema, table.name))) is None
        or (there.rows, there.sha256) != (table.rows, table.sha256)
    ]
    if differing:
        raise BackupError(
            f"The copy of the agent's rows differs from them in {', '.join(differing)}: it was not kept."
        )
    return manifest


def choose(held: snapshot.Snapshot, agent: uuid.UUID) -> tuple[Conditions, list[content.Relation]]:
    """Which rows of which tables (by oid) are the agent's, and the tables that hang on no agent.

    A row belongs to the agent that its foreign key to agents.agents names; where it names none, to that of
    the row that its other foreign keys name.
    """
    tables = {one.oid: one for one in held.relations}
    root = next((one.oid for one in held.relations if one.name == ROOT), None)
    if root is None:
        raise BackupError("There is no table agents.agents in this database.")
    keys = held.connection.execute(KEYS, [list(tables), list(tables)]).fetchall()
    conditions: Conditions = {root: sql.SQL("id = {}").format(sql.Literal(str(agent)))}
    hanging = _hanging(keys, root)
    while hanging:
        # First what refers to known tables alone; in a circle, what refers to one of them.
        ready = [table for table in hanging if _targets(keys, table) & hanging == set()]
        table = min(ready or (one for one in hanging if _targets(keys, one) & conditions.keys()))
        mine = [key for key in keys if key[0] == table and key[1] in conditions]
        direct = [key for key in mine if key[1] == root]
        conditions[table] = _belongs(direct, [key for key in mine if key not in direct], tables, conditions)
        hanging.remove(table)
    return conditions, [one for oid, one in tables.items() if oid not in conditions]


def _hanging(keys: list[Any], root: int) -> set[int]:
    """The tables from which foreign keys lead to the root, by way of others too, without the root itself."""
    known = {root}
    while more := {table for table, target, *_ in keys if target in known} - known:
        known |= more
    return known - {root}


def _targets(keys: list[Any], table: int) -> set[int]:
    return {target for one, target, *_ in keys if one == table}


def _belongs(
    direct: list[Any], others: list[Any], tables: dict[int, content.Relation], known: Conditions
) -> sql.Composable:
    named = [_in(key, tables, known) for key in direct]
    if not others:
        return sql.SQL(" OR ").join(named)
    empty = [sql.SQL("{} IS NULL").format(sql.Identifier(column)) for key in direct for column in key[2]]
    through = sql.SQL("({})").format(sql.SQL(" OR ").join(_in(key, tables, known) for key in others))
    return sql.SQL(" OR ").join([*named, sql.SQL("({})").format(sql.SQL(" AND ").join([*empty, through]))])


def _in(key: Any, tables: dict[int, content.Relation], known: Conditions) -> sql.Composable:
    _, target, columns, referred = key
    return sql.SQL("({}) IN (SELECT {} FROM {} WHERE {})").format(
        sql.SQL(", ").join(map(sql.Identifier, columns)),
        sql.SQL(", ").join(map(sql.Identifier, referred)),
        sql.Identifier(tables[target].schema, tables[target].name),
        known[target],
    )


def _fill(
    work: Work,
    held: snapshot.Snapshot,
    name: str,
    folder: Path,
    conditions: Conditions,
    indexes: list[str],
) -> None:
    """Tables, the agent's rows, then indexes, keys and triggers, in the database of that name."""
    where = server.database()
    dumper, restorer = (server.program(tool, held.connection).path for tool in ("pg_dump", "pg_restore"))
    archive, entries = folder / "schema.dump", folder / "entries.list"
    with passfile(str(where["PASSWORD"])) as secret:
        source, target = postgres_env(where) | secret, postgres_env(where | {"NAME": name}) | secret
        schema: list[str | Path] = [dumper, "--format=custom", "--schema-only", f"--schema={SCHEMA}"]
        schema += [f"--snapshot={held.name}", f"--lock-wait-timeout={snapshot.LOCK_SECONDS}s"]
        _run(work, [*schema, "--no-password", f"--file={archive}"], source)
        listed = run([restorer, "--list", archive]).decode()
        entries.write_text("".join(line for line in listed.splitlines(True) if not _is_one_of(line, indexes)))
        restore: list[str | Path] = [
            restorer,
            "--no-password",
            "--exit-on-error",
            f"--dbname={name}",
            f"--use-list={entries}",
        ]
        _run(work, [*restore, "--section=pre-data", archive], target)
        with server.connect(name, application="arcweb-backup: one agent", check=work.check) as filled:
            server.lift_limits(filled)
            tables = [one for one in held.relations if one.oid in conditions]
            for number, table in enumerate(tables, 1):
                work.say(f"copying the agent's rows of {table.qualified}, table {number} of {len(tables)}")
                _copy(held.connection, filled, table, conditions[table.oid], work)
        work.say("making indexes and keys of the agent's rows")
        _run(work, [*restore, "--section=post-data", archive], target)


def _run(work: Work, argv: list[str | Path], env: dict[str, str]) -> None:
    """A program that prints nothing, ended at once when the work is to stop."""
    with running(argv, env, stdout=subprocess.DEVNULL) as program:
        while program.process.poll() is None:
            time.sleep(LOOK)
            work.check()
        program.end()


def _copy(
    source: psycopg.Connection[Any],
    target: psycopg.Connection[Any],
    table: content.Relation,
    condition: sql.Composable,
    work: Work,
) -> None:
    columns, portable = source.execute(COLUMNS, [table.oid]).fetchone() or ([], False)
    parts = {
        "columns": sql.SQL(", ").join(map(sql.Identifier, columns)),
        "table": sql.Identifier(table.schema, table.name),
        "condition": condition,
        "format": sql.SQL("BINARY" if portable else "TEXT"),
    }
    out = sql.SQL(
        "COPY (SELECT {columns} FROM ONLY {table} WHERE {condition}) TO STDOUT (FORMAT {format})"
    ).format(**parts)
    into = sql.SQL("COPY {table} ({columns}) FROM STDIN (FORMAT {format})").format(**parts)
    with source.cursor().copy(out) as reading, target.cursor().copy(into) as writing:
        for block in reading:
            writing.write(block)
            work.check()


def _is_one_of(line: str, indexes: list[str]) -> bool:
    """Whether the line of `pg_restore --list` is the index of one of those names."""
    return any(f" INDEX {SCHEMA} {name} " in line for name in indexes)


def _without(indexes: list[str]) -> str:
    return (
        f"The approximate index {', '.join(indexes)} is not in this copy: it would take minutes to build, "
        "and the database that the agent is restored into has its own."
    )


def _id(found: Any) -> uuid.UUID:
    try:
        return uuid.UUID(str(found))
    except ValueError:
        raise BackupError(f"{found!r} is no agent's id, which is a UUID.") from None


@contextmanager
def _folder(work: Work) -> Iterator[Path]:
    spool = work.folder / "spool"
    spool.mkdir(mode=0o700, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=leftovers.SPOOLED, dir=spool))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
