"""What sessions and locks have to say to the verdict: forgotten transactions, long statements, long waits."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from django.urls import reverse

from arcweb.database.activity import locks, sessions
from arcweb.database.activity.sessions import Session
from arcweb.database.activity.words import lasting
from arcweb.database.findings import Finding, Look, register_look
from arcweb.database.standing import standing


def since(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.now(UTC) - timedelta(seconds=seconds)


def activity_findings(everybody: Sequence[Session] | None = None) -> list[Finding]:
    """The sessions that an operator should look at; asks for them where they are not given."""
    everybody = sessions.listed() if everybody is None else everybody
    page = reverse("admin:database_activity")
    found = []
    idle = sorted((one for one in everybody if one.forgotten), key=lambda one: -(one.in_state or 0))
    if idle:
        first = idle[0]
        others = f", and {len(idle) - 1} more" if len(idle) > 1 else ""
        found.append(
            Finding(
                "warn",
                f"Session {first.name} has been idle in transaction for "
                f"{lasting(first.in_state)}{others}: what it locked stays locked, and VACUUM cannot "
                "remove rows that it might see.",
                f"{page}?state=idle-in-transaction",
                "Show them",
                since=since(first.in_state),
                statement=f"SELECT pg_terminate_backend({first.pid});",
                why=f"From {lasting(sessions.IDLE_IN_TRANSACTION)} on; "
                "idle_in_transaction_session_timeout ends such sessions by itself.",
            )
        )
    long = sorted((one for one in everybody if one.long), key=lambda one: -(one.in_state or 0))
    if long:
        first = long[0]
        others = f", and {len(long) - 1} more" if len(long) > 1 else ""
        found.append(
            Finding(
                "warn",
                f"Session {first.name} has been running one statement for {lasting(first.in_state)}{others}.",
                f"{page}?state=active&longer={sessions.LONG_STATEMENT}",
                "Show them",
                since=since(first.in_state),
                statement=f"SELECT pg_cancel_backend({first.pid});",
                why=f"From {lasting(sessions.LONG_STATEMENT)} on; VACUUM, ANALYZE, CREATE INDEX and "
                "COPY are not counted.",
            )
        )
    if trouble := standing().why_not("activity"):
        found.append(Finding("unknown", trouble, page, "Sessions"))
    return found


def lock_findings(trees: Sequence[locks.Blocking] | None = None) -> list[Finding]:
    """Waits for locks that have lasted; the root is named, with what ends it."""
    trees = locks.blocking() if trees is None else trees
    return [
        Finding(
            "bad",
            tree.sentence,
            reverse("admin:database_locks"),
            "Show the tree",
            since=since(tree.seconds),
            statement=tree.statement,
            why=f"From {lasting(locks.BLOCKED_LONG)} on: nobody who works holds a lock for so long in "
            "front of others.",
        )
        for tree in trees
        if tree.seconds >= locks.BLOCKED_LONG
    ]


register_look(Look("activity", "Sessions", activity_findings, "admin:database_activity", order=20))
register_look(Look("locks", "Locks", lock_findings, "admin:database_locks", order=10))
