"""Parts of a page that fail alone: each has a statement timeout of its own, and says what stopped it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from django.db import DEFAULT_DB_ALIAS, DatabaseError, OperationalError

from arcweb.database.standing import quoted, standing
from arcweb.postgres import TooSlow, limited

T = TypeVar("T")

#: Seconds that a part of a page may take, unless it says otherwise: a page of three parts ends in a second.
LIMIT = 0.7
INSUFFICIENT_PRIVILEGE = "42501"
#: undefined_table, undefined_function, undefined_column, object_not_in_prerequisite_state
NOT_THERE = ("42P01", "42883", "42703", "55000")


@dataclass(frozen=True)
class Part(Generic[T]):
    """What a function returned, or the sentence that says why there is nothing: never both."""

    value: T | None
    trouble: str = ""

    @property
    def known(self) -> bool:
        return not self.trouble


def part(
    ask: Callable[[], T], *, what: str, seconds: float = LIMIT, using: str = DEFAULT_DB_ALIAS
) -> Part[T]:
    """Runs `ask` in a read-only transaction of at most `seconds`, which is rolled back.

    `what` begins the sentence of its failure: "The sizes of tables". A server that is away raises
    OperationalError as everywhere: that is the page's trouble, not the part's.
    """
    try:
        with limited(seconds, using=using):
            return Part(ask())
    except TooSlow:
        return Part(None, f"{what} took more than {seconds:g} s and were stopped: the server is busy.")
    except OperationalError:
        raise
    except DatabaseError as error:
        return Part(None, explained(error, what, using))


def explained(error: DatabaseError, what: str, using: str = DEFAULT_DB_ALIAS) -> str:
    """What is missing, in a sentence with the statement that gives it; PostgreSQL's own words otherwise."""
    state = getattr(error.__cause__, "sqlstate", None)
    words = str(error).strip().splitlines()[0]
    if state == INSUFFICIENT_PRIVILEGE:
        role = standing(using).role
        return (
            f"{what} may not be seen by the role {role} ({words}). "
            f"A superuser allows it with GRANT pg_monitor TO {quoted(role)};"
        )
    if state in NOT_THERE:
        return f"{what} are not offered by this server ({words})."
    return f"{what} cannot be shown: PostgreSQL says “{words}”."
