"""What a part of a page may cost the database, whatever it does."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, cast

from django.db import DatabaseError, connections, transaction

from arcweb.postgres.connection import ServerSilent

#: query_canceled, by the statement timeout or an administrator; lock_not_available.
STOPPED = ("57014", "55P03")
#: Seconds beyond the limit until a silent connection is given up.
MARGIN = 0.5
SET = """
    SELECT set_config('statement_timeout', %s, true),
           set_config('lock_timeout', %s, true),
           set_config('transaction_read_only', 'on', true)
"""


class TooSlow(Exception):  # noqa: N818 - it is no fault
    """What was limited did not end in time. `seconds` is the limit."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"It did not end within {seconds:g} s and was stopped.")
        self.seconds = seconds


def was_stopped(error: BaseException) -> bool:
    """Whether PostgreSQL ended that statement because it took too long, or waited too long for a lock."""
    return getattr(error.__cause__, "sqlstate", None) in STOPPED


@contextmanager
def limited(seconds: float, *, using: str = "default") -> Iterator[None]:
    """A read-only transaction, rolled back in the end, whose statements have `seconds` together.

    One round trip more than the statements themselves, as long as they are quick. Raises TooSlow when the
    time is over, inside a statement or before the next one.
    """
    deadline = time.monotonic() + seconds
    connection: Any = connections[using]
    granted = seconds

    def hurry(execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:
        nonlocal granted
        left = deadline - time.monotonic()
        if left <= 0:
            raise TooSlow(seconds)
        if left < granted * 0.7 and not connection.needs_rollback:
            granted = left
            # Past the wrappers: through them it would come back here.
            _set(connection, left)
        return execute(sql, params, many, context)

    with ExitStack() as exits:
        if hasattr(connection, "patience"):
            exits.enter_context(connection.patience(seconds + MARGIN))
        try:
            with transaction.atomic(using):
                with connection.cursor() as cursor:
                    cursor.execute(SET, [_milliseconds(seconds)] * 2)
                with connection.execute_wrapper(hurry):
                    yield
                transaction.set_rollback(True, using)
        except DatabaseError as error:
            if was_stopped(error) or (
                isinstance(error.__cause__, ServerSilent) and time.monotonic() >= deadline
            ):
                raise TooSlow(seconds) from error
            raise


def _set(connection: Any, seconds: float) -> None:
    raw = cast("Any", connection.connection)
    with connection.wrap_database_errors, raw.cursor() as cursor:
        cursor.execute(SET, [_milliseconds(seconds)] * 2)


def _milliseconds(seconds: float) -> str:
    """At least 1: 0 would mean no limit."""
    return f"{max(1, int(seconds * 1000))}ms"
