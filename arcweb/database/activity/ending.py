"""Ends a statement, or a session: only the one that was seen, and told as it came out.

A number (pid) is used again, and a statement may end while somebody reads of it. So the session's
beginning and the statement's are compared in the very statement that sends the signal.
"""

from __future__ import annotations

import time
from enum import Enum
from typing import Any

from django.db import DatabaseError, connection, transaction

from arcweb.database.activity.sessions import FRESH, Session, find
from arcweb.database.parts import INSUFFICIENT_PRIVILEGE
from arcweb.database.standing import standing
from arcweb.events import record
from arcweb.events.models import Event
from arcweb.events.sentences import describe

CANCEL_TRIED, SESSION_ENDED = "postgres.cancel_tried", "postgres.session_ended"
OBJECT = "database.session"
describe(CANCEL_TRIED, "tried to cancel what session {object} of PostgreSQL runs")
describe(SESSION_ENDED, "ended session {object} of PostgreSQL")

CANCEL = """
    WITH there AS MATERIALIZED (
        SELECT pid, coalesce(state, '') AS state, (extract(epoch FROM query_start) * 1000000)::bigint AS asked
        FROM pg_stat_activity
        WHERE pid = %(pid)s AND (extract(epoch FROM backend_start) * 1000000)::bigint = %(started)s
            AND backend_type = 'client backend' AND pid <> pg_backend_pid()
    )
    SELECT state, asked, CASE WHEN state IN ('active', 'fastpath function call') AND asked = %(asked)s
        THEN pg_cancel_backend(pid) END AS sent
    FROM there
"""
TERMINATE = """
    SELECT coalesce(state, ''), 0, pg_terminate_backend(pid)
    FROM pg_stat_activity
    WHERE pid = %(pid)s AND (extract(epoch FROM backend_start) * 1000000)::bigint = %(started)s
        AND backend_type = 'client backend' AND pid <> pg_backend_pid()
"""
#: Seconds that a page waits to see whether a signal had its effect, and between two looks.
PATIENCE = 0.4
EVERY = 0.05


class Outcome(Enum):
    """What became of it."""

    STOPPED = "stopped"  #: the signal was sent, and it is over
    SENT = "sent"  #: the signal was sent; it goes on for now
    OVER = "over"  #: the statement had ended by itself: nothing was sent
    NOTHING_RUNS = "nothing runs"  #: its transaction is open, but it runs no statement
    GONE = "gone"  #: the session had ended: nothing was sent
    REFUSED = "refused"  #: PostgreSQL does not let our role


def cancel(session: Session, asked: int) -> Outcome:
    """Cancel that statement (`asked`: its beginning in microseconds) of that session, and no other.

    The event is written before, and makes `terminate` possible. Sends nothing when it is over.
    """
    _record(CANCEL_TRIED, session)
    row = _signal(CANCEL, session, asked)
    if isinstance(row, Outcome):
        return row
    state, _, sent = row
    if sent is None:
        return Outcome.NOTHING_RUNS if state.startswith("idle in transaction") else Outcome.OVER
    if not sent:
        return Outcome.GONE
    return _seen(lambda: _runs_no_more(session, asked))


def terminate(session: Session) -> Outcome:
    """End that session. Raises ValueError unless a cancel was tried for it before."""
    if not was_tried(session):
        raise ValueError("A session is ended only after its statement was asked to stop.")
    _record(SESSION_ENDED, session)
    row = _signal(TERMINATE, session, 0)
    if isinstance(row, Outcome):
        return row
    return _seen(lambda: _find(session) is None) if row[2] else Outcome.GONE


def was_tried(session: Session) -> bool:
    """Whether somebody tried to cancel a statement of that very session."""
    return session.backend_start is not None and (
        Event.objects.filter(
            kind=CANCEL_TRIED,
            object_type=OBJECT,
            object_id=session.identity,
            occurred_at__gte=session.backend_start,
        ).exists()
    )


def _record(kind: str, session: Session) -> None:
    data = {
        "pid": session.pid,
        "database": session.database,
        "user": session.user,
        "application": session.application,
        "state": session.state,
    }
    record(kind, object_type=OBJECT, object_id=session.identity, label=session.name, data=data)


def _signal(sql: str, session: Session, asked: int) -> tuple[Any, ...] | Outcome:
    params = {"pid": session.pid, "started": session.started, "asked": asked}
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(FRESH)
            cursor.execute(sql, params)
            row: tuple[Any, ...] | None = cursor.fetchone()
    except DatabaseError as error:
        if getattr(error.__cause__, "sqlstate", None) == INSUFFICIENT_PRIVILEGE:
            return Outcome.REFUSED
        raise
    return Outcome.GONE if row is None else row


def _find(session: Session) -> Session | None:
    return None if session.started is None else find(session.pid, session.started)


def _runs_no_more(session: Session, asked: int) -> bool:
    now = _find(session)
    return now is None or not now.active or now.asked != asked


def _seen(over: Any) -> Outcome:
    end = time.monotonic() + PATIENCE
    while not over():
        if time.monotonic() > end:
            return Outcome.SENT
        time.sleep(EVERY)
    return Outcome.STOPPED


def told(outcome: Outcome, session: Session, deed: str) -> str:
    """The outcome in a sentence; deed is "cancel" or "end"."""
    thing = "statement" if deed == "cancel" else "session"
    sentences = {
        Outcome.STOPPED: f"The {thing} of {session.name} was told to stop, and has ended.",
        Outcome.SENT: f"The {thing} of {session.name} was told to stop and has not ended yet: it is in "
        "a step that cannot be interrupted, or rolls back. Look again in a moment.",
        Outcome.OVER: f"It had already ended: session {session.name} is done with that statement. "
        "Nothing was cancelled.",
        Outcome.NOTHING_RUNS: f"Session {session.name} runs no statement, so there was nothing to "
        "cancel. It holds its transaction, and its locks, until its client goes on or the session is ended.",
        Outcome.GONE: f"It had already ended: session {session.name} is gone. Nothing was done.",
        Outcome.REFUSED: f"PostgreSQL does not let the role {standing().role} do this to session "
        f"{session.name}: only a superuser ends the session of a superuser, and another session needs "
        "pg_signal_backend. Nothing was done.",
    }
    return sentences[outcome]
