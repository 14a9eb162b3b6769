"""What belongs to live and stands in no dump, as it is now: others' rights, settings, limit, comment.

What this role may not carry over is said with the statement to run by hand.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import psycopg
from psycopg import sql

from arcweb.backups.restore.carry import objects, of_database
from arcweb.backups.restore.carry.copying import Both
from arcweb.backups.restore.carry.needs import Need, tried

#: Statements that a restore's sentence names; its page lists all of them.
MOST_NAMED = 5
#: A fact of a restore that read nothing of live: the rights in the restored database are the copy's alone.
LIVE_UNREAD = "live_unread"


def carry(both: Both, taken_at: str) -> list[str]:
    done, left = _carried(both.new, lambda: _needs(both))
    what = "1 right or setting" if done == 1 else f"{done} rights and settings"
    said = [f"{what} of live carried over."] if done else []
    if _keeps_its_own(both):
        said.append("Rights on what is in the database are as they were before the restore.")
    # No page lists what an undo leaves.
    most = MOST_NAMED if both.undoes is None else len(left)
    return said + _told(left, both.live.info.dbname, most)


def forecast(both: Both) -> list[dict[str, str]]:
    """What a person has to carry over afterwards: {"what", "statement"}. Tried in the new database, whose
    transaction is rolled back. Raises psycopg.Error."""
    with both.new.transaction(force_rollback=True):
        _, left = _carried(both.new, lambda: _needs(both))
    return _listed(left, both.live.info.dbname)


def carry_alone(new: psycopg.Connection[Any], live: str) -> list[str]:
    """What the cluster's own catalogs know of a live database that cannot be entered; where there is none
    (""), the new one is for everybody, as PostgreSQL makes databases. Says what it may not carry over."""
    made = new.info.dbname
    if live:
        return _told(_left_alone(new, live), live, MOST_NAMED)
    new.execute(sql.SQL("GRANT CONNECT, TEMPORARY ON DATABASE {} TO PUBLIC").format(sql.Identifier(made)))
    return []


def forecast_alone(new: psycopg.Connection[Any], live: str) -> list[dict[str, str]]:
    """As `forecast`, of what the cluster's own catalogs know of live. Raises psycopg.Error."""
    with new.transaction(force_rollback=True):
        return _listed(_left_alone(new, live), live) if live else []


def _left_alone(new: psycopg.Connection[Any], live: str) -> list[Need]:
    return _carried(new, lambda: of_database.needs(new, live, new, new.info.dbname, revokes=False))[1]


def _carried(new: psycopg.Connection[Any], look: Callable[[], Iterable[Need]]) -> tuple[int, list[Need]]:
    """How much was carried over, and what was not: told by a second look, since PostgreSQL only warns where a
    part of what was asked for was done."""
    first = list(look())
    taken = [need.what for need in first if need.tried and tried(new, need) and need.given]
    # FROM CURRENT may write the same value in another way: on for true.
    left = [need for need in look() if need.what not in taken]
    return len(first) - len(left), left


def _told(left: Sequence[Need], database: str, most: int) -> list[str]:
    if not left:
        return []
    named = " ".join(one.by_hand(database) for one in left[:most])
    more = f" And {len(left) - most} more." if len(left) > most else ""
    return [f"To be run by hand by a superuser, since this role may not: {named}{more}"]


def _listed(left: Sequence[Need], database: str) -> list[dict[str, str]]:
    return [{"what": one.what, "statement": one.by_hand(database)} for one in left]


def _keeps_its_own(both: Both) -> bool:
    return bool(both.undoes and both.undoes.get(LIVE_UNREAD))


def _needs(both: Both) -> Iterator[Need]:
    every = list(
        of_database.needs(
            both.live, both.live.info.dbname, both.new, both.new.info.dbname, revokes=both.takes_back
        )
    )
    if not _keeps_its_own(both):
        every = [*objects.needs(both), *every]
    if both.undoes is None:
        yield from every
        return
    # What the restore could not give, and nobody by hand, the database of before may keep.
    never_given = {one["what"] for one in both.undoes.get("by_hand", ())}
    yield from (need for need in every if need.tried and need.contrary not in never_given)
