"""Who is connected to PostgreSQL and what each session does: pg_stat_activity in words."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import DEFAULT_DB_ALIAS, connections

from arcweb.database.activity.words import lasting
from arcweb.database.queries.texts import masked

#: Seconds. A transaction that waits for its client for so long holds its locks, and keeps VACUUM from
#: removing rows; half of what most poolers allow, and what the embedded server ends by itself.
IDLE_IN_TRANSACTION = 300
#: Seconds. Pages stop theirs after ARC_WEB_STATEMENT_SECONDS; maintenance and copies are not counted.
LONG_STATEMENT = 300
#: Characters of a statement that a list shows.
CLIPPED = 240

#: Within a transaction PostgreSQL goes on showing what it showed first, unless told otherwise.
FRESH = "SELECT pg_stat_clear_snapshot()"
#: `started` and `asked`, in microseconds, tell a session and a statement from a later one: exactly, unlike
#: floats.
#: `maintenance`: statements that are expected to take long, and have a progress of their own.
SESSIONS = """
    SELECT a.pid, a.backend_start, (extract(epoch FROM a.backend_start) * 1000000)::bigint AS started,
           (extract(epoch FROM a.query_start) * 1000000)::bigint AS asked,
           coalesce(a.datname, '') AS database, coalesce(a.usename, '') AS "user",
           coalesce(a.application_name, '') AS application, host(a.client_addr) AS address,
           coalesce(a.backend_type, '') AS kind, coalesce(a.state, '') AS state,
           a.wait_event_type AS wait_type, a.wait_event AS wait, a.leader_pid AS leader,
           extract(epoch FROM clock_timestamp() - a.backend_start)::float8 AS connected,
           extract(epoch FROM clock_timestamp() - a.xact_start)::float8 AS in_transaction,
           extract(epoch FROM clock_timestamp()
               - CASE WHEN a.state = 'active' THEN a.query_start ELSE a.state_change END)::float8 AS in_state,
           left(a.query, %(most)s) AS statement, coalesce(length(a.query), 0) > %(most)s AS clipped,
           a.pid = pg_backend_pid() AS own,
           a.pid IN (
               SELECT pid FROM pg_stat_progress_create_index UNION ALL SELECT pid FROM pg_stat_progress_vacuum
               UNION ALL SELECT pid FROM pg_stat_progress_analyze
               UNION ALL SELECT pid FROM pg_stat_progress_cluster
               UNION ALL SELECT pid FROM pg_stat_progress_copy
               UNION ALL SELECT pid FROM pg_stat_progress_basebackup
           ) AS maintenance
    FROM pg_stat_activity AS a
"""
ALL = SESSIONS + "ORDER BY a.pid"
ONE = f"""{SESSIONS}
    WHERE a.pid = %(pid)s AND (extract(epoch FROM a.backend_start) * 1000000)::bigint = %(started)s
"""
SOME = SESSIONS + "WHERE a.pid = ANY (%(pids)s)"


@dataclass(frozen=True)
class Session:
    """A row of pg_stat_activity. Durations in seconds, None where PostgreSQL does not tell them.

    pid and `started` (microseconds) name one session for ever, pid alone does not: numbers are used again.
    `asked` names the statement that it runs or ran last. `statement` is "" for who may not see it, and has
    no passwords.
    """

    pid: int
    backend_start: datetime | None
    started: int | None
    asked: int | None
    database: str
    user: str
    application: str
    address: str | None
    kind: str
    state: str
    wait_type: str | None
    wait: str | None
    leader: int | None
    connected: float | None
    in_transaction: float | None
    in_state: float | None  #: of an active one: since its statement began
    statement: str | None
    clipped: bool
    own: bool
    maintenance: bool

    @property
    def identity(self) -> str:
        return f"{self.pid}-{self.started}"

    @property
    def hidden(self) -> bool:
        """Whether the role may not see what it does."""
        return not self.kind or (self.is_client and not self.state)

    @property
    def is_client(self) -> bool:
        return self.kind == "client backend"

    @property
    def active(self) -> bool:
        return self.state in ("active", "fastpath function call")

    @property
    def idle_in_transaction(self) -> bool:
        return self.state.startswith("idle in transaction")

    @property
    def blocked(self) -> bool:
        """Whether it waits for a lock of somebody else."""
        return self.wait_type == "Lock"

    @property
    def waits(self) -> bool:
        return self.active and self.wait is not None and self.wait_type not in ("Client", "Activity")

    @property
    def forgotten(self) -> bool:
        return self.idle_in_transaction and (self.in_state or 0) >= IDLE_IN_TRANSACTION

    @property
    def long(self) -> bool:
        return (
            self.is_client and self.active and not self.maintenance and (self.in_state or 0) >= LONG_STATEMENT
        )

    @property
    def shape(self) -> str:
        """As the page's .state classes have it."""
        if self.blocked or self.forgotten or self.long or self.state.endswith("(aborted)"):
            return "warn"
        if self.hidden:
            return "unknown"
        return "good" if self.active else "idle"

    @property
    def word(self) -> str:
        return "Not visible" if self.hidden else (self.state or self.kind).capitalize()

    @property
    def untouchable(self) -> str:
        """Why it is never ended here, in a sentence; "" when it may be."""
        if self.own:
            return "It is the session of this very page."
        if self.kind == "walsender":
            return "It feeds a replica or a backup, which would fall behind or fail."
        if not self.is_client:
            return "It belongs to PostgreSQL itself, which starts and ends it."
        if self.started is None:
            return "Its beginning may not be seen: it cannot be told from a later session of its number."
        return ""

    @property
    def name(self) -> str:
        """For sentences: "4711 (arcweb, arc@arc)"."""
        who = f"{self.user}@{self.database}" if self.database else self.user or self.kind
        return f"{self.pid} ({self.application}, {who})" if self.application else f"{self.pid} ({who})"

    @property
    def state_words(self) -> str:
        """For sentences: "idle in transaction for 3 min"."""
        if self.hidden:
            return "in a state that may not be seen"
        if not self.state:
            return "a process of PostgreSQL itself"
        verb = "running a statement" if self.active else self.state
        return f"{verb} for {self.in_state_words}"

    @property
    def in_state_words(self) -> str:
        return lasting(self.in_state) if self.state else ""

    @property
    def in_transaction_words(self) -> str:
        return lasting(self.in_transaction) if self.in_transaction is not None else ""

    @property
    def connected_words(self) -> str:
        return lasting(self.connected)


#: What the list may be reduced to.
KINDS: dict[str, tuple[str, Callable[[Session], bool]]] = {
    "": ("clients", lambda session: session.is_client or session.hidden),
    "replication": ("replication", lambda session: session.kind == "walsender"),
    "background": (
        "of PostgreSQL itself",
        lambda session: not session.is_client and session.kind != "walsender" and not session.hidden,
    ),
    "all": ("all", lambda _session: True),
}
STATES: dict[str, tuple[str, Callable[[Session], bool]]] = {
    "": ("any", lambda _session: True),
    "active": ("active", lambda session: session.active),
    "idle": ("idle", lambda session: session.state == "idle"),
    "idle-in-transaction": ("idle in transaction", lambda session: session.idle_in_transaction),
}


@dataclass(frozen=True)
class Wanted:
    """What the list is reduced to. `words` stand in application, client, user or database; seconds."""

    kind: str = ""
    state: str = ""
    database: str = ""
    user: str = ""
    words: str = ""
    waiting: bool = False
    longer: float = 0.0

    def passes(self, session: Session) -> bool:
        said = f"{session.pid} {session.application} {session.address or ''}".casefold()
        return (
            KINDS[self.kind][1](session)
            and STATES[self.state][1](session)
            and self.database in ("", session.database)
            and self.user in ("", session.user)
            and self.words.casefold() in said
            and (not self.waiting or session.waits or session.blocked)
            and (session.in_state or 0) >= self.longer
        )


def listed(most: int = 0, using: str = DEFAULT_DB_ALIAS) -> list[Session]:
    """Every session, with so many characters of its statement. Raises django.db.Error."""
    return _asked(ALL, {"most": most}, using)


def find(pid: int, started: int, most: int = 0, using: str = DEFAULT_DB_ALIAS) -> Session | None:
    """That session and no later one of the same number; None when it has ended."""
    if not (0 < pid < 2**31 and 0 < started < 2**63):
        return None
    return next(iter(_asked(ONE, {"pid": pid, "started": started, "most": most}, using)), None)


def of(pids: Iterable[int], most: int = 0, using: str = DEFAULT_DB_ALIAS) -> dict[int, Session]:
    """These sessions by their pid."""
    found = _asked(SOME, {"pids": list(pids), "most": most}, using)
    return {session.pid: session for session in found}


def chosen(sessions: Sequence[Session], wanted: Wanted) -> list[Session]:
    """Those that pass, blocked ones first, then the active, the longest first."""

    def key(session: Session) -> tuple[Any, ...]:
        rank = (session.blocked, session.idle_in_transaction and session.forgotten, session.active)
        return (*(not one for one in rank), not session.idle_in_transaction, -(session.in_state or 0))

    return sorted((session for session in sessions if wanted.passes(session)), key=key)


def _asked(sql: str, params: dict[str, Any], using: str) -> list[Session]:
    with connections[using].cursor() as cursor:
        cursor.execute(FRESH)
        cursor.execute(sql, params)
        names = [column.name for column in cursor.description]
        found = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
    return [Session(**one | {"statement": masked(one["statement"] or "")}) for one in found]
