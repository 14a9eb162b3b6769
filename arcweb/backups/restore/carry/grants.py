"""What belongs to live and stands in no dump, as it is now: others' rights, settings, limit, comment.

What this role may not carry over is said with the statement to run by hand.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
from psycopg import sql

from arcweb.backups.restore.carry import objects, of_database
from arcweb.backups.restore.carry.copying import Both
from arcweb.backups.restore.carry.needs import Need, tried

#: Statements that a sentence names; the page lists all of them.
MOST_NAMED = 5


def carry(both: Both, taken_at: str) -> list[str]:
    done, left = _carried(both)
    what = "1 right or setting" if done == 1 else f"{done} rights and settings"
    said = [f"{what} of live carried over."] if done else []
    if left:
        statements = [one.by_hand(both.live.info.dbname) for one in left]
        more = f" And {len(left) - MOST_NAMED} more." if len(left) > MOST_NAMED else ""
        named = " ".join(statements[:MOST_NAMED])
        said.append(f"To be run by hand by a superuser, since this role may not: {named}{more}")
    return said


def forecast(both: Both) -> list[dict[str, str]]:
    """What a person has to carry over afterwards: {"what", "statement"}. Tried in the new database, whose
    transaction is rolled back. Raises psycopg.Error."""
    with both.new.transaction(force_rollback=True):
        _, left = _carried(both)
    return [{"what": one.what, "statement": one.by_hand(both.live.info.dbname)} for one in left]


def carry_alone(new: psycopg.Connection[Any], live: str) -> None:
    """What the cluster's own catalogs know of a live database that cannot be entered; where there is none
    (""), the new one is for everybody, as PostgreSQL makes databases."""
    made = new.info.dbname
    if not live:
        new.execute(sql.SQL("GRANT CONNECT, TEMPORARY ON DATABASE {} TO PUBLIC").format(sql.Identifier(made)))
        return
    for need in list(of_database.needs(new, live, new, made, revokes=False)):
        if need.tried:
            tried(new, need.statement(made))


def _carried(both: Both) -> tuple[int, list[Need]]:
    """How much was carried over, and what was not: told by a second look, since PostgreSQL only warns where a
    part of what was asked for was done."""
    made = both.new.info.dbname
    first = list(_needs(both))
    for need in first:
        if need.tried:
            tried(both.new, need.statement(made))
    left = list(_needs(both))
    return len(first) - len(left), left


def _needs(both: Both) -> Iterator[Need]:
    yield from objects.needs(both)
    yield from of_database.needs(
        both.live, both.live.info.dbname, both.new, both.new.info.dbname, revokes=both.takes_back
    )
