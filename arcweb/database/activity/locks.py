"""Who waits for a lock, on what, since when, and whose transaction is in the way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.db import connection

from arcweb.database.activity import sessions
from arcweb.database.activity.sessions import FRESH, Session
from arcweb.database.activity.tree import Place, Tree, trees
from arcweb.database.activity.words import lasting

#: Seconds. PostgreSQL itself logs a wait after one (deadlock_timeout) where log_lock_waits is on; a page
#: gives
#: up after ARC_WEB_STATEMENT_SECONDS. Whoever waits longer waits for somebody who has forgotten it.
BLOCKED_LONG = 30

#: `rows`: waiting for another transaction, a session holds a lock on the row (tuple) that both want.
#: `prepared`: a prepared transaction has no pid; its locks have what its lock on its own number has.
WAITS = """
    SELECT l.pid, l.locktype AS kind, l.mode,
           CASE WHEN l.relation IS NULL THEN ''
                WHEN l.database = d.oid THEN l.relation::regclass::text
                ELSE 'relation ' || l.relation || ' of database ' || coalesce(o.datname, l.database::text)
           END AS relation,
           l.page, l.tuple, l.transactionid::text AS transaction, l.virtualxid, l.classid, l.objid,
           extract(epoch FROM clock_timestamp() - l.waitstart)::float8 AS seconds,
           (SELECT t.relation::regclass::text FROM pg_locks AS t
            WHERE t.pid = l.pid AND t.locktype = 'tuple' AND t.granted AND t.database = d.oid
            LIMIT 1) AS rows,
           pg_blocking_pids(l.pid) AS blockers,
           (SELECT array_agg(DISTINCT x.gid) FROM pg_locks AS p
            JOIN pg_locks AS k ON k.virtualtransaction = p.virtualtransaction
                AND k.pid IS NULL AND k.locktype = 'transactionid' AND k.granted
            JOIN pg_prepared_xacts AS x ON x.transaction = k.transactionid
            WHERE p.pid IS NULL AND p.granted AND p.locktype = l.locktype
                AND p.database IS NOT DISTINCT FROM l.database AND p.relation IS NOT DISTINCT FROM l.relation
                AND p.page IS NOT DISTINCT FROM l.page AND p.tuple IS NOT DISTINCT FROM l.tuple
                AND p.transactionid IS NOT DISTINCT FROM l.transactionid
                AND p.classid IS NOT DISTINCT FROM l.classid AND p.objid IS NOT DISTINCT FROM l.objid
                AND p.objsubid IS NOT DISTINCT FROM l.objsubid) AS prepared
    FROM pg_locks AS l
    JOIN pg_database AS d ON d.datname = current_database()
    LEFT JOIN pg_database AS o ON o.oid = l.database
    WHERE NOT l.granted AND l.pid IS NOT NULL
    ORDER BY l.waitstart NULLS LAST, l.pid
"""
PREPARED = """
    SELECT gid, owner, database, extract(epoch FROM clock_timestamp() - prepared)::float8 AS seconds
    FROM pg_prepared_xacts ORDER BY prepared
"""
LONGEST = """
    SELECT count(*)::int, max(extract(epoch FROM clock_timestamp() - waitstart))::float8
    FROM pg_locks WHERE NOT granted
"""

#: pg_locks.locktype in words; a place in braces is a column of WAITS.
KINDS = {
    "relation": "{relation}",
    "extend": "the end of {relation}, to add a page",
    "page": "page {page} of {relation}",
    "tuple": "row ({page},{tuple}) of {relation}",
    "transactionid": "transaction {transaction}",
    "virtualxid": "transaction {virtualxid}",
    "spectoken": "an insertion of the same key by transaction {transaction}",
    "object": "an object of the catalogue ({classid}, {objid})",
    "advisory": "an advisory lock ({classid}, {objid})",
    "frozenid": "the freezing of this database",
    "userlock": "a user lock",
    "applytransaction": "a transaction of logical replication",
}


@dataclass(frozen=True)
class Prepared:
    """A prepared transaction: it belongs to no session, and holds its locks through a restart."""

    gid: str
    owner: str
    database: str
    seconds: float

    @property
    def lasting(self) -> str:
        return lasting(self.seconds)

    @property
    def statement(self) -> str:
        return "ROLLBACK PREPARED '" + self.gid.replace("'", "''") + "';"


@dataclass(frozen=True)
class Wait:
    """What a session waits for. seconds: None when the wait is only just beginning."""

    pid: int
    mode: str
    on: str
    seconds: float | None

    @property
    def lasting(self) -> str:
        return "just now" if self.seconds is None else lasting(self.seconds)

    @property
    def long(self) -> bool:
        return (self.seconds or 0) >= BLOCKED_LONG


@dataclass(frozen=True)
class Member:
    """A place in a blocking tree: a session or a prepared transaction (or neither: it has just ended)."""

    place: Place[int | str]
    session: Session | None
    prepared: Prepared | None
    wait: Wait | None

    @property
    def name(self) -> str:
        if self.prepared is not None:
            return f"prepared transaction “{self.prepared.gid}”"
        return f"session {self.session.name}" if self.session else f"session {self.place.key}, just ended"

    @property
    def indent(self) -> int:
        """For a class of the style sheet, which has six."""
        return min(self.place.depth, 6)


@dataclass(frozen=True)
class Blocking:
    """One root and everybody who waits for it, directly or behind others."""

    members: tuple[Member, ...]
    circle: bool

    @property
    def root(self) -> Member:
        return self.members[0]

    @property
    def waiting(self) -> list[Member]:
        return [member for member in self.members if member.wait is not None]

    @property
    def seconds(self) -> float:
        """How long the first of them waits."""
        return max((member.wait.seconds or 0 for member in self.members if member.wait), default=0.0)

    @property
    def state(self) -> str:
        return "bad" if self.seconds >= BLOCKED_LONG else "warn"

    @property
    def sentence(self) -> str:
        number = len(self.waiting)
        others = "another session" if number == 1 else f"{number} sessions"
        time = lasting(self.seconds)
        if self.circle:
            return (
                f"{number} sessions wait for each other in a circle, for {time}: PostgreSQL breaks it "
                "by ending one of their transactions after deadlock_timeout."
            )
        name = self.root.name
        name = f"{name[:1].upper()}{name[1:]}"
        holds = f"holds up {others}" if number == 1 else f"holds up {others}, the first"
        doing = f", {self.root.session.state_words}," if self.root.session else ""
        if self.root.prepared:
            doing = f", prepared {self.root.prepared.lasting} ago,"
        return f"{name}{doing} {holds} for {time}."

    @property
    def statement(self) -> str:
        """What ends it, to be typed."""
        if self.root.prepared is not None:
            return self.root.prepared.statement
        session = self.root.session
        if session is None or (session.untouchable and not session.own):
            return ""
        function = "pg_cancel_backend" if session.active else "pg_terminate_backend"
        return f"SELECT {function}({session.pid});"


def blocking(most: int = 0) -> list[Blocking]:
    """Every tree, the one with the longest wait first; statements of at most so many characters.

    Empty when nobody waits. Three statements, whatever waits. Raises django.db.Error.
    """
    waits = _rows(WAITS)
    if not waits:
        return []
    prepared = {one.gid: one for one in prepared_transactions()}
    blockers: dict[int | str, Sequence[int | str]] = {}
    for row in waits:
        ahead: list[int | str] = [pid for pid in row["blockers"] if pid]
        if 0 in row["blockers"]:  # a prepared transaction has no process
            ahead += [gid for gid in row["prepared"] or () if gid in prepared]
        if ahead:
            blockers[row["pid"]] = ahead
    pids = {key for key in blockers if isinstance(key, int)}
    pids |= {key for ahead in blockers.values() for key in ahead if isinstance(key, int)}
    known = sessions.of(pids, most)
    by_pid = {row["pid"]: _wait(row) for row in waits}

    def whole(tree: Tree[int | str]) -> Blocking:
        members = (
            Member(
                place,
                known.get(place.key) if isinstance(place.key, int) else None,
                prepared.get(place.key) if isinstance(place.key, str) else None,
                by_pid.get(place.key)
                if isinstance(place.key, int) and (place.depth or tree.circle)
                else None,
            )
            for place in tree.places
        )
        return Blocking(tuple(members), tree.circle)

    return sorted(map(whole, trees(blockers)), key=lambda one: -one.seconds)


def prepared_transactions() -> list[Prepared]:
    """All of the server, the oldest first."""
    return [Prepared(**row) for row in _rows(PREPARED)]


def longest_wait() -> tuple[int, float]:
    """How many wait for a lock, and for how many seconds the first of them does; (0, 0) when none does."""
    with connection.cursor() as cursor:
        cursor.execute(LONGEST)
        number, seconds = cursor.fetchone()
        return number, seconds or 0.0


def _wait(row: dict[str, Any]) -> Wait:
    words = KINDS.get(row["kind"], row["kind"])
    on = words.format(**{name: "" if value is None else value for name, value in row.items()})
    if row["kind"] == "transactionid" and row["rows"]:
        on = f"a row of {row['rows']}, changed by {on}"
    return Wait(row["pid"], row["mode"], on, row["seconds"])


def _rows(sql: str) -> list[dict[str, Any]]:
    with connection.cursor() as cursor:
        cursor.execute(FRESH)
        cursor.execute(sql)
        names = [column.name for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
