"""One thing that live has and a new database has not, as the statement that gives it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql

#: (role, "" for PUBLIC; privilege) → whether it may be passed on.
Rights = Mapping[tuple[str, str], bool]
#: A part of a statement for the database of that name.
Part = Callable[[str], sql.Composed]


@dataclass(frozen=True)
class Need:
    """what: in words; contrary: those of what takes it back. statement: for the database of that name; shown:
    the same for people, where it holds what may be a secret. tried: False for what is left to a person.

    given: name and value that the statement takes FROM CURRENT: logs and statistics keep what stands in a
    statement, and no parameters.
    """

    what: str
    statement: Part
    shown: Part | None = None
    tried: bool = True
    contrary: str = ""
    given: tuple[str, str] | None = None

    def by_hand(self, database: str) -> str:
        return f"{(self.shown or self.statement)(database).as_string()};"


def rights(rows: Iterable[tuple[str, str, bool]]) -> dict[tuple[str, str], bool]:
    """Of rows of (role, privilege, again); several may give the same, from several grantors."""
    found: dict[tuple[str, str], bool] = {}
    for role, privilege, again in rows:
        found[role, privilege] = found.get((role, privilege), False) or again
    return found


def granting(
    wanted: Rights,
    there: Rights,
    of: Part,
    words: str,
    *,
    prefix: sql.Composable | None = None,
    column: str = "",
    revokes: bool,
) -> Iterator[Need]:
    """What leads from the rights that are there to those that are wanted.

    of: "TABLE x" and the like. words: what that is called. prefix: what stands before GRANT. revokes: whether
    surplus ones go.
    """
    start = prefix or sql.SQL("")

    def statement(template: str, privilege: str, role: str, again: bool = False) -> Part:
        option = sql.SQL(" WITH GRANT OPTION" if again else "")
        return lambda database: sql.SQL(template).format(
            start, _privilege(privilege, column), of(database), named(role), option
        )

    for (role, privilege), again in sorted(wanted.items()):
        if (role, privilege) not in there or (again and not there[role, privilege]):
            what = f"{privilege} on {words} for {role or 'everybody'}"
            given = statement("{}GRANT {} ON {} TO {}{}", privilege, role, again)
            yield Need(what, given, contrary=f"no {what}")
        elif revokes and there[role, privilege] and not again:
            what = f"{privilege} on {words} for {role or 'everybody'}"
            kept = statement("{}REVOKE GRANT OPTION FOR {} ON {} FROM {}{}", privilege, role)
            yield Need(f"no passing on of {what}", kept, contrary=what)
    for role, privilege in sorted(there.keys() - wanted.keys()) if revokes else ():
        what = f"{privilege} on {words} for {role or 'everybody'}"
        taken = statement("{}REVOKE {} ON {} FROM {}{}", privilege, role)
        yield Need(f"no {what}", taken, contrary=what)


def named(role: str) -> sql.Composable:
    return sql.Identifier(role) if role else sql.SQL("PUBLIC")


def fixed(template: str, *parts: sql.Composable) -> Part:
    """The same for every database."""
    return lambda database: sql.SQL(template).format(*parts)


def about(template: str, *parts: sql.Composable) -> Part:
    """With the database's name in the first place of the template."""
    return lambda database: sql.SQL(template).format(sql.Identifier(database), *parts)


def word(text: str) -> sql.SQL:
    """A keyword, or a name that PostgreSQL has quoted already."""
    return sql.SQL(text)


def tried(new: psycopg.Connection[Any], need: Need) -> bool:
    """Whether it was not refused, which leaves the transaction as it was. Raises psycopg.Error when the
    server went away."""
    try:
        with new.transaction():
            if need.given:
                new.execute("SELECT set_config(%s, %s, true)", need.given)
            new.execute(need.statement(new.info.dbname))
            if need.given:
                name = sql.Identifier(*need.given[0].split("."))
                new.execute(sql.SQL("SET LOCAL {} TO DEFAULT").format(name))
    except psycopg.Error:
        if new.closed:
            raise
        return False
    return True


def _privilege(privilege: str, column: str) -> sql.Composable:
    if not column:
        return word(privilege)
    return sql.SQL("{} ({})").format(word(privilege), sql.Identifier(column))
