"""Alarms on sessions and locks."""

from __future__ import annotations

from arcweb.alarms import Alarm, Reading, register_alarm
from arcweb.database.activity import locks, sessions
from arcweb.database.activity.words import lasting
from arcweb.database.standing import standing


def blocked() -> Reading:
    """The longest wait for a lock, in seconds. Everybody may see it."""
    number, seconds = locks.longest_wait()
    if not number:
        return Reading(0, "Nobody waits for a lock.")
    who = "One session waits" if number == 1 else f"{number} sessions wait"
    return Reading(
        seconds,
        f"{who} for a lock, the first for {lasting(seconds)}: the page Locks names who holds it, and "
        "ends it.",
    )


def idle_in_transaction() -> Reading | None:
    if standing().why_not("activity"):
        return None
    idle = [one for one in sessions.listed() if one.idle_in_transaction]
    if not idle:
        return Reading(0, "No session is idle in transaction.")
    longest = max(idle, key=lambda one: one.in_state or 0)
    return Reading(
        longest.in_state or 0,
        f"Session {longest.name} is idle in transaction for {lasting(longest.in_state)} and keeps its "
        "locks: end it on the page Activity, and have its program commit earlier.",
    )


def long_statement() -> Reading | None:
    if standing().why_not("activity"):
        return None
    running = [one for one in sessions.listed() if one.is_client and one.active and not one.maintenance]
    if not running:
        return Reading(0, "No statement is running.")
    longest = max(running, key=lambda one: one.in_state or 0)
    return Reading(
        longest.in_state or 0,
        f"Session {longest.name} runs one statement for {lasting(longest.in_state)}: look at it on the "
        "page Activity, and cancel it there if nobody needs it.",
    )


register_alarm(
    Alarm(
        "postgres.blocked",
        "Sessions wait for a lock",
        "PostgreSQL",
        blocked,
        "s",
        locks.BLOCKED_LONG,
        "A page gives up after 10 s, PostgreSQL logs a wait after 1 s: after 30 s somebody has "
        "forgotten a lock.",
        lasting=0,
        severity="bad",
        permission="database.view_server",
        url_name="admin:database_locks",
    )
)
register_alarm(
    Alarm(
        "postgres.idle_in_transaction",
        "A transaction is left open",
        "PostgreSQL",
        idle_in_transaction,
        "s",
        sessions.IDLE_IN_TRANSACTION,
        "Five minutes: nobody types for so long, and VACUUM waits for it.",
        lasting=0,
        permission="database.view_server",
        url_name="admin:database_activity",
    )
)
register_alarm(
    Alarm(
        "postgres.long_statement",
        "A statement runs for long",
        "PostgreSQL",
        long_statement,
        "s",
        900,
        "Fifteen minutes: no page of ours waits for so long; maintenance and copies are not counted.",
        lasting=0,
        permission="database.view_server",
        url_name="admin:database_activity",
    )
)
