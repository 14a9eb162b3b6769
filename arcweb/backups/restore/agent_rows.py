"""The rows of one agent, out of a restored copy into live."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

import psycopg
from psycopg import sql

from arcweb.backups import content, one_agent
from arcweb.backups.exceptions import BackupError
from arcweb.backups.one_agent import ROOT, SCHEMA
from arcweb.backups.restore.streaming import columns, demanded, listed, oid, stream

Connection = psycopg.Connection[Any]
#: Whether a single column of type uuid is the table's primary key, and its name.
IDENTITY = """
    SELECT a.attname FROM pg_index AS i
    JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
    WHERE i.indrelid = %s AND i.indisprimary AND i.indnkeyatts = 1 AND a.atttypid = 'uuid'::regtype
"""
#: Columns that a trigger of live sets anew when a row is inserted, and that an UPDATE of them alone leaves.
KEPT = {"memories": ("embedding_state", "embedding_error", "embedding_attempts", "embedding_due_at")}


@dataclass(frozen=True)
class Agent:
    id: str
    name: str


@dataclass(frozen=True)
class Rows:
    """order: in which rows can go in. keys: as one_agent.KEYS has them."""

    agent: str
    tables: Mapping[int, str]  #: oid → name
    order: tuple[int, ...]
    conditions: Mapping[int, sql.Composable]
    keys: tuple[Any, ...]


@dataclass
class Given:
    """agent: its id in live. counts: table → rows that went in. left_out: columns that live does not have."""

    agent: str
    counts: dict[str, int] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)


def find(copy: Connection, said: str) -> Agent:
    """By id, else by a name that only one bears. Raises BackupError."""
    found = one_agent.matching(copy.cursor(), said)
    if len(found) == 1:
        return Agent(*found[0])
    if found:
        ids = ", ".join(id_ for id_, _ in found[: one_agent.MOST_NAMED])
        raise BackupError(f"{len(found)} agents of the copy are called {said!r}: give the id of one ({ids}).")
    raise BackupError(f"The copy holds no agent {said!r}, or it was erased since.")


def collect(copy: Connection, agent: str) -> Rows:
    """Every table whose rows hang on that agent, as a backup of one agent chooses them."""
    held = SimpleNamespace(connection=copy, relations=content.relations(copy, SCHEMA))
    conditions, _ = one_agent.choose(cast("Any", held), uuid.UUID(agent))
    tables = {one.oid: one.name for one in held.relations if one.oid in conditions}
    keys = copy.execute(one_agent.KEYS, [list(tables), list(tables)]).fetchall()
    return Rows(agent, tables, _in_order(tables, keys), conditions, tuple(keys))


def as_it_was(copy: Connection, live: Connection, rows: Rows, agent: Agent) -> Given:
    """Under its own ids. Raises BackupError that names what stands in the way."""
    there = live.execute("SELECT name FROM agents.agents WHERE id = %s", [agent.id]).fetchone()
    if there is not None:
        raise BackupError(
            f"Live has this agent: {there[0]!r}, id {agent.id}. Nothing was changed. Delete it first to have "
            "it as it was, or restore it as a copy under another name (--as)."
        )
    given = Given(agent.id)
    for number in rows.order:
        name, temporary = rows.tables[number], _brought(copy, live, rows, number, given)
        _refuse_taken(live, name, temporary, number, copy)
        given.counts[name] = _insert(live, name, temporary)
    return given


def as_copy(copy: Connection, live: Connection, rows: Rows, name: str) -> Given:
    """As another agent: each row under a new id, references among them led along."""
    if len(name) > 255 or not name.strip():
        raise BackupError("The name of the new agent has 1 to 255 characters.")
    given, brought = Given(str(uuid.uuid4())), {}
    for number in rows.order:
        brought[number] = _brought(copy, live, rows, number, given)
        column = (copy.execute(IDENTITY, [number]).fetchone() or ("",))[0]
        # A key that is a reference follows what it refers to.
        refers = any(key[0] == number and column in key[2] for key in rows.keys if key[1] in rows.tables)
        if column and not refers:
            _number_anew(live, brought[number], column, given.agent if rows.tables[number] == ROOT else "")
        for table, target, mine, referred in rows.keys:
            here = table == number and target in brought and len(mine) == 1
            if here and mine[0] in columns(live, sql.Identifier("pg_temp", brought[number])):
                _lead_along(live, brought[number], mine[0], brought[target], referred[0])
    live.execute(
        sql.SQL("UPDATE {} SET name = %s").format(sql.Identifier("pg_temp", brought[_root(rows)])), [name]
    )
    for number in rows.order:
        given.counts[rows.tables[number]] = _insert(live, rows.tables[number], brought[number])
    return given


def _brought(copy: Connection, live: Connection, rows: Rows, number: int, given: Given) -> str:
    """The agent's rows of that table in a temporary table of live; its name.

    With the columns that both have: a copy of one agent or one schema is not migrated, and may be of an
    older version.
    """
    name, temporary = rows.tables[number], f"part_{rows.tables[number]}"
    if oid(live, SCHEMA, name) is None:
        raise BackupError(f"Live has no table {SCHEMA}.{name}, into which the agent's rows would go.")
    table = sql.Identifier(SCHEMA, name)
    there, here = columns(copy, table), columns(live, table)
    given.left_out += [f"{name}.{column}" for column in there if column not in here]
    live.execute(
        sql.SQL("CREATE TEMPORARY TABLE {} ON COMMIT DROP AS SELECT {} FROM {} WITH NO DATA").format(
            sql.Identifier(temporary), listed(column for column in here if column in there), table
        )
    )
    chosen = sql.SQL("(SELECT * FROM {} WHERE {})").format(table, rows.conditions[number])
    count = stream(copy, live, chosen, sql.Identifier("pg_temp", temporary))
    if count and (lacking := [column for column in demanded(live, table) if column not in there]):
        raise BackupError(
            f"Live's {SCHEMA}.{name} demands {', '.join(lacking)}, which this copy, of an older version, "
            "does not have. Nothing was changed. Restore the table into a schema of its own (--table "
            f"{SCHEMA}.{name}) and copy the rows from there."
        )
    return temporary


def _refuse_taken(live: Connection, name: str, temporary: str, number: int, copy: Connection) -> None:
    column = (copy.execute(IDENTITY, [number]).fetchone() or ("",))[0]
    if not column:
        return
    query = sql.SQL("SELECT t.{0}::text FROM {1} AS t JOIN {2} AS mine ON mine.{0} = t.{0} LIMIT {3}").format(
        sql.Identifier(column),
        sql.Identifier(SCHEMA, name),
        sql.Identifier("pg_temp", temporary),
        sql.Literal(one_agent.MOST_NAMED),
    )
    if taken := [id_ for (id_,) in live.execute(query).fetchall()]:
        raise BackupError(
            f"Rows of {SCHEMA}.{name} that belonged to this agent belong to another now "
            f"({', '.join(taken)}). Nothing was changed. Restore the agent as a copy under another name "
            "(--as)."
        )


def _insert(live: Connection, name: str, temporary: str) -> int:
    target, source = sql.Identifier(SCHEMA, name), sql.Identifier("pg_temp", temporary)
    brought = columns(live, source)
    names = listed(column for column in columns(live, target) if column in brought)
    count = live.execute(
        sql.SQL("INSERT INTO {} ({}) SELECT {} FROM {}").format(target, names, names, source)
    ).rowcount
    for column in KEPT.get(name, ()):
        if column not in brought:
            continue
        live.execute(
            sql.SQL(
                "UPDATE {0} AS t SET {1} = was.{1} FROM {2} AS was WHERE was.id = t.id AND t.{1} IS DISTINCT "
                "FROM was.{1}"
            ).format(target, sql.Identifier(column), source)
        )
    return count


def _number_anew(live: Connection, temporary: str, column: str, given: str) -> None:
    table, key = sql.Identifier("pg_temp", temporary), sql.Identifier(column)
    live.execute(sql.SQL("ALTER TABLE {} ADD COLUMN arc_was uuid").format(table))
    fresh = sql.SQL("{}::uuid").format(sql.Literal(given)) if given else sql.SQL("gen_random_uuid()")
    live.execute(sql.SQL("UPDATE {0} SET arc_was = {1}, {1} = {2}").format(table, key, fresh))


def _lead_along(live: Connection, temporary: str, column: str, target: str, referred: str) -> None:
    live.execute(
        sql.SQL("UPDATE {0} AS t SET {1} = new.{2} FROM {3} AS new WHERE new.arc_was = t.{1}").format(
            sql.Identifier("pg_temp", temporary),
            sql.Identifier(column),
            sql.Identifier(referred),
            sql.Identifier("pg_temp", target),
        )
    )


def _root(rows: Rows) -> int:
    return next(number for number, name in rows.tables.items() if name == ROOT)


def _in_order(tables: Mapping[int, str], keys: Any) -> tuple[int, ...]:
    """What is referred to before what refers to it."""
    order: list[int] = []
    while len(order) < len(tables):
        ready = [
            number
            for number in tables
            if number not in order
            and all(key[1] in order or key[1] not in tables for key in keys if key[0] == number)
        ]
        if not ready:
            raise BackupError(
                "The tables of agents refer to each other in a circle; the agent cannot be restored."
            )
        order += sorted(ready)
    return tuple(order)
