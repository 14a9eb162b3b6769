"""Rows of the live database in temporary tables of the new one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import psycopg
from psycopg import sql

COLUMNS = """
    SELECT attname FROM pg_attribute
    WHERE attrelid = to_regclass(%s) AND attnum > 0 AND NOT attisdropped AND attgenerated = ''
    ORDER BY attnum
"""
#: When its migrations were applied tells a database's descent: a copy has the times of its original.
DESCENT = """
    SELECT extract(epoch FROM min(applied))::text FROM django_migrations
    WHERE (app, name) = ('contenttypes', '0001_initial')
"""


class Both:
    """The two databases. The new one's transaction is the caller's."""

    def __init__(
        self,
        live: psycopg.Connection[Any],
        new: psycopg.Connection[Any],
        *,
        trusted: bool,
        undoes: Mapping[str, Any] | None = None,
    ) -> None:
        """undoes: of an undo, the facts of the restore that it takes back."""
        self.live = live
        self.new = new
        self.trusted = trusted
        self.undoes = undoes

    @cached_property
    def related(self) -> bool:
        """Whether the copy was taken of what is live now, so that numbers mean the same in both."""
        if not self._has(self.live, "django_migrations") or not self._has(self.new, "django_migrations"):
            return False
        one, two = (each.execute(DESCENT).fetchone() for each in (self.live, self.new))
        return one is not None and one == two and one[0] is not None

    @property
    def takes_back(self) -> bool:
        """Whether rights that the copy gives and live does not are taken back.

        A live of another descent never knew the services of a copy that this installation made, and has taken
        nothing away from them.
        """
        return self.related or not self.trusted

    def has(self, table: str) -> bool:
        """Whether both have that table."""
        return self._has(self.live, table) and self._has(self.new, table)

    def columns(self, table: str) -> list[str]:
        """Those that both have: live may be of another version."""
        there = {name for (name,) in self.live.execute(COLUMNS, [table])}
        return [name for (name,) in self.new.execute(COLUMNS, [table]) if name in there]

    def bring(self, table: str, into: str, where: sql.Composable | None = None) -> int:
        """Rows of live's table in a temporary table `into` of the new database; how many."""
        names = sql.SQL(", ").join(map(sql.Identifier, self.columns(table)))
        source, target = _name(table), sql.Identifier("pg_temp", into)
        self.new.execute(sql.SQL("DROP TABLE IF EXISTS {}").format(target))
        self.new.execute(
            sql.SQL("CREATE TEMPORARY TABLE {} ON COMMIT DROP AS SELECT {} FROM {} WITH NO DATA").format(
                sql.Identifier(into), names, source
            )
        )
        condition = sql.SQL(" WHERE ") + where if where is not None else sql.SQL("")
        with (
            self.live.cursor() as reading,
            self.new.cursor() as writing,
            reading.copy(
                sql.SQL("COPY (SELECT {} FROM {} AS t{}) TO STDOUT").format(names, source, condition)
            ) as out,
            writing.copy(sql.SQL("COPY {} ({}) FROM STDIN").format(target, names)) as inward,
        ):
            for block in out:
                inward.write(block)
        return self.count(into)

    def replace(self, tables: Sequence[str]) -> None:
        """All rows of these tables as live has them; in the order in which they may be filled."""
        for table in reversed(tables):
            self.do(sql.SQL("DELETE FROM {}").format(_name(table)))
        for table in tables:
            self.bring(table, "carried_rows")
            columns = names(self.columns(table))
            self.do(
                sql.SQL("INSERT INTO {} ({}) SELECT {} FROM pg_temp.carried_rows").format(
                    _name(table), columns, columns
                )
            )

    def count(self, into: str) -> int:
        row = self.new.execute(
            sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier("pg_temp", into))
        ).fetchone()
        return int(row[0]) if row else 0

    def do(self, query: sql.Composed | str, values: Any = None) -> int:
        """One statement in the new database; how many rows it touched."""
        return self.new.execute(query, values).rowcount

    def move_on(self, table: str, column: str = "id") -> None:
        """Let the table's sequence give numbers beyond the greatest that is taken."""
        self.do(
            sql.SQL(
                "SELECT setval(found.name, greatest((SELECT max({column}) FROM {table}), "
                "(SELECT last_value FROM pg_sequences WHERE format('%%I.%%I', schemaname, sequencename)"
                "::regclass = found.name::regclass), 1)) "
                "FROM (SELECT pg_get_serial_sequence(%s, %s)) AS found (name) WHERE found.name IS NOT NULL"
            ).format(column=sql.Identifier(column), table=_name(table)),
            [table, column],
        )

    @staticmethod
    def _has(connection: psycopg.Connection[Any], table: str) -> bool:
        row = connection.execute("SELECT to_regclass(%s) IS NOT NULL", [table]).fetchone()
        return bool(row and row[0])


def names(columns: list[str], prefix: str = "") -> sql.Composed:
    """ "a", "b" for a list of columns, each behind the alias where there is one."""
    return sql.SQL(", ").join(
        sql.Identifier(prefix, one) if prefix else sql.Identifier(one) for one in columns
    )


def _name(table: str) -> sql.Identifier:
    return sql.Identifier(*table.split("."))
