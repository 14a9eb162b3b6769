"""Changes to the partitions of events.events: the lock they need, waited for so shortly that nobody notices.

Detaching and attaching needs ACCESS EXCLUSIVE on events.events: whoever reads or writes events afterwards
waits behind us for as long as we wait ourselves. (DETACH … CONCURRENTLY, which would not, is refused by
PostgreSQL for a table with a default partition.) So each try waits for half a second at most, less than
deadlock_timeout, so that it is always us who give way, and the tries lie apart.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from django.db import DatabaseError, connection, transaction

from arcweb.postgres.limits import was_stopped

T = TypeVar("T")
LOCK_TIMEOUT = "500ms"
DEADLOCK = "40P01"
#: Seconds between the tries.
PAUSES = (1.0, 2.0, 3.0, 5.0, 8.0, 13.0, 21.0)
#: The lock that events.ensure_partitions takes as well.
TURN = "SELECT pg_advisory_xact_lock(hashtextextended('events.ensure_partitions', 0))"


class Busy(Exception):  # noqa: N818 - it is no fault
    """The lock was not to be had; the message is a sentence."""


def with_lock(change: Callable[[], T], wait: Callable[[float], None], what: str) -> T:
    """Run `change` in a transaction with a short lock timeout, again after each of PAUSES. Raises Busy.

    `what` ends the sentence: "detach events.events_2025_01". wait(seconds) sleeps, and may raise to stop.
    """
    for pause in (*PAUSES, None):
        try:
            with transaction.atomic():
                with connection.cursor() as cursor:
                    cursor.execute("SELECT set_config('lock_timeout', %s, true)", [LOCK_TIMEOUT])
                    cursor.execute(TURN)
                return change()
        except DatabaseError as error:
            if not was_stopped(error) and getattr(error.__cause__, "sqlstate", None) != DEADLOCK:
                raise
            if pause is None:
                break
        wait(pause)
    raise Busy(
        f"Somebody reads or writes events without a pause, so that there was no moment to {what}. "
        "Nothing was changed. The locks page shows who holds the table."
    )
