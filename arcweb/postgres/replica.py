"""Reads of lists and search from a replica, while it is fresh enough: which connection serves, and why.

POSTGRES_REPLICA_HOST adds DATABASES["replica"]. `read(ask)` runs `ask` with reads of the replicated apps sent
there, when the replica answers, is at most ARC_REPLICA_MAX_LAG_SECONDS behind, and has what this session
wrote itself; and once more on the primary when the replica fails in the middle. Everything else (jobs,
workers, logins, sessions, permissions, whatever writes) never leaves the primary. `arcweb.postgres.lag`
measures; without it, as in workers, commands and tests, nothing is ever read from the replica.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Generic, Literal, TypeVar

from django.conf import settings
from django.db import DEFAULT_DB_ALIAS, DatabaseError, InterfaceError, connections

from arcweb.postgres.limits import was_stopped

logger = logging.getLogger(__name__)
T = TypeVar("T")
REPLICA = "replica"
#: Seconds after which what a look found is not believed any more. Looks are twice a second and end within
#: two, but for one that waits for the name of a host.
BELIEVED = 3.0
#: Bytes of WAL. Whatever its clock says, a replica that is so far behind has seconds of work before it.
MOST_BEHIND = 64 * 1024 * 1024


@dataclass(frozen=True)
class State:
    """The replica as last looked at. answers: None is unknown; replayed: its place in the WAL, in bytes.

    behind: bytes that the primary is ahead; seconds: how long ago the primary was where the replica is now,
    None while that is unknown. trouble: why it does not serve, "" while it does.
    """

    answers: bool | None = None
    trouble: str = "it has not been looked at yet"
    replayed: int = 0
    behind: int | None = None
    seconds: float | None = None
    since: datetime | None = None
    checked_at: datetime | None = None

    @property
    def fresh(self) -> bool:
        return not self.trouble


@dataclass(frozen=True)
class Answer(Generic[T]):
    """What was read, from where, and why it was the primary ("" without a replica, or when it served)."""

    value: T
    server: Literal["primary", "replica"]
    why: str = ""


class _Board:
    """The replica as this process knows it. Written by the one who looks, read by everybody."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.clear()

    def clear(self) -> None:
        self.state = State()
        self.served = {"replica": 0, "primary": 0}
        self.wake: Callable[[], None] | None = None


_board = _Board()
_alias: ContextVar[str] = ContextVar("alias of reads", default=DEFAULT_DB_ALIAS)
#: The place in the WAL that reads must have reached: what this session wrote last. None: never the replica.
_wanted: ContextVar[int | None] = ContextVar("place that reads must have reached", default=None)


def configured() -> bool:
    return REPLICA in connections.settings


def state() -> State:
    return _board.state


def served() -> dict[str, int]:
    """Reads that might have gone to the replica, by who answered them, since this process began."""
    return dict(_board.served)


def note(now: State) -> None:
    """Keep how the replica stands, and say in the log when it begins or ceases to serve."""
    with _board.lock:
        before = _board.state
        changed = before.fresh is not now.fresh or before.since is None
        moment = datetime.now(UTC)
        _board.state = State(
            now.answers,
            now.trouble,
            now.replayed,
            now.behind,
            now.seconds,
            moment if changed else before.since,
            moment,
        )
    if changed and before.checked_at is not None:
        logger.warning("The replica serves no reads: %s.", now.trouble) if now.trouble else logger.info(
            "The replica serves reads of lists and search."
        )


def watch(wake: Callable[[], None] | None) -> None:
    """Whom to tell that the replica is suspected; None: nobody looks after it any more."""
    if wake is None:
        _board.clear()
    else:
        _board.wake = wake


def suspect() -> None:
    """Have the replica looked at now."""
    if _board.wake is not None:
        _board.wake()


@contextmanager
def asking(wanted: int | None) -> Iterator[None]:
    """Inside, `read` may use a replica that has reached that place in the WAL; None: it may not."""
    token = _wanted.set(wanted)
    try:
        yield
    finally:
        _wanted.reset(token)


def alias() -> str:
    """The connection that reads of the replicated apps use here: "default", or "replica" inside of `read`."""
    return _alias.get()


def why_not() -> str:
    """Why a read would go to the primary now, to stand behind "because"; "" when the replica serves."""
    now, wanted = _board.state, _wanted.get()
    if wanted is None:
        return "only pages read from the replica"
    if now.trouble:
        return now.trouble
    if now.checked_at is None or datetime.now(UTC) - now.checked_at > timedelta(seconds=BELIEVED):
        return "the last look at the replica has not ended yet"
    if wanted > now.replayed:
        return "your last change has not reached the replica yet"
    if connections[DEFAULT_DB_ALIAS].in_atomic_block:
        return "a transaction is open"
    return ""


def read(ask: Callable[[], T]) -> Answer[T]:
    """What `ask` returns, which only reads. It may run twice: where the replica fails, again on the primary.

    A statement that took too long is not repeated: it raises as it would on the primary.
    """
    if not configured():
        return Answer(ask(), "primary")
    if why := why_not():
        return _by_primary(ask, why)
    token = _alias.set(REPLICA)
    try:
        value = ask()
    except (DatabaseError, InterfaceError) as error:
        if was_stopped(error):
            raise
        logger.warning("The replica failed, and the primary is read instead: %s", error)
        with suppress(DatabaseError, InterfaceError):
            connections[REPLICA].close()  # whatever is the matter with it, the next read gets another
        suspect()
    else:
        _board.served["replica"] += 1
        return Answer(value, "replica")
    finally:
        _alias.reset(token)
    return _by_primary(ask, "the replica did not answer")


def _by_primary(ask: Callable[[], T], why: str) -> Answer[T]:
    value = ask()
    _board.served["primary"] += 1
    return Answer(value, "primary", why)


class Router:
    """Django's database router: reads inside of `read`, of the replicated apps, and nothing else."""

    def db_for_read(self, model: Any, **hints: Any) -> str:
        return alias() if model._meta.app_label in settings.ARC_REPLICA_APPS else DEFAULT_DB_ALIAS

    def db_for_write(self, model: Any, **hints: Any) -> str:
        """Also for an object that was read from the replica, which Django would save there."""
        return DEFAULT_DB_ALIAS

    def allow_relation(self, one: Any, other: Any, **hints: Any) -> bool | None:
        return True

    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool | None:
        return False if db == REPLICA else None
