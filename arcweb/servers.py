"""How the servers and processes stand that ARC Web needs, from memory: reading costs nothing. Pure.

`arcweb.prober` keeps these states in the web process. In workers, commands and tests nobody does, and
every state is unknown.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, get_args

from arcweb.panels import Server, State

NAMES: tuple[Server, ...] = get_args(Server)
TITLES: Mapping[Server, str] = {
    "postgres": "PostgreSQL",
    "redis-cache": "Redis (cache role)",
    "redis-state": "Redis (state role)",
    "worker": "The Celery worker",
    "beat": "Celery beat",
}
#: What its absence means to people.
EFFECTS: Mapping[Server, str] = {
    "postgres": "Pages and jobs wait for it; what is stored is safe, and nobody is logged out.",
    "redis-cache": "Logins go on: sessions are read from PostgreSQL meanwhile.",
    "redis-state": "New jobs are kept in PostgreSQL and sent when it is back; nothing is lost.",
    "worker": "Jobs stay queued until it is back; pages and search go on.",
    "beat": "Nothing that is scheduled starts until it is back; pages, search and running jobs go on.",
}
#: What it does for people while it is well.
WORKS: Mapping[Server, str] = {
    "postgres": "keeps agents, memories, jobs and logins",
    "redis-cache": "keeps sessions quick",
    "redis-state": "takes queued jobs",
    "worker": "works on jobs that are queued",
    "beat": "starts what is scheduled",
}


@dataclass(frozen=True)
class ServerState:
    """One server or process as it was last found.

    up: None is unknown. since: when the present state began. sentence: what is wrong and what to do, with
    addresses, for those who are logged in. reason: the same for anybody, in a few words and without
    addresses. effect: what its absence means. facts: fit for JSON.
    """

    name: Server
    title: str
    up: bool | None = None
    since: datetime | None = None
    checked_at: datetime | None = None
    sentence: str = ""
    reason: str = ""
    facts: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def effect(self) -> str:
        return EFFECTS[self.name]

    @property
    def works(self) -> str:
        return WORKS[self.name]

    @property
    def state(self) -> State:
        """As the page's .state classes have it."""
        return "unknown" if self.up is None else "good" if self.up else "bad"

    @property
    def word(self) -> str:
        return {None: "Unknown", True: "Well", False: "Away"}[self.up]

    @property
    def seconds(self) -> float:
        """Seconds that the present state lasts; 0 when it is unknown since when."""
        return 0.0 if self.since is None else max(0.0, (datetime.now(UTC) - self.since).total_seconds())

    @property
    def lasting(self) -> str:
        """ "12 s", "3 min", "2 h": how long the present state lasts."""
        return duration(self.seconds)


def duration(seconds: float) -> str:
    """In the largest unit that says enough: "12 s", "3 min", "5 h", "3 days"."""
    for limit, unit, name in ((120, 1, "s"), (7200, 60, "min"), (172_800, 3600, "h")):
        if seconds < limit:
            return f"{int(seconds // unit)} {name}"
    return f"{int(seconds // 86_400)} days"


@dataclass(frozen=True)
class Finding:
    """What one look at a server found.

    certain: no second look is needed before a bad finding counts (a refused connection, say; a server that
    was only slow is asked again). since: when its state began, where the look can tell.
    """

    up: bool | None
    sentence: str = ""
    reason: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)
    certain: bool = True
    since: datetime | None = None


class Board:
    """The states of one process. Written by its prober, read by everybody."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._suspect: Callable[[Server], None] | None = None
        self.clear()

    def clear(self) -> None:
        unknown = "Nobody looks after it in this process."
        self._states = {name: ServerState(name, TITLES[name], sentence=unknown) for name in NAMES}

    def state_of(self, name: Server) -> ServerState:
        return self._states[name]

    def note(self, name: Server, finding: Finding) -> tuple[ServerState, ServerState]:
        """Record what was found; the state before and the state now."""
        now = datetime.now(UTC)
        with self._lock:
            before = self._states[name]
            changed = before.up is not finding.up or before.since is None
            state = replace(
                before,
                up=finding.up,
                since=(finding.since or now) if changed else before.since,
                checked_at=now,
                sentence=finding.sentence,
                reason=finding.reason,
                facts=MappingProxyType(dict(finding.facts)),
            )
            self._states[name] = state
        return before, state

    def watch(self, suspect: Callable[[Server], None] | None) -> None:
        """Whom to tell that a server is suspected to be away; None when nobody looks any more."""
        self._suspect = suspect
        if suspect is None:
            self.clear()

    @property
    def watched(self) -> bool:
        return self._suspect is not None

    def suspect(self, name: Server) -> None:
        if self._suspect is not None:
            self._suspect(name)


board = Board()


def state_of(name: Server) -> ServerState:
    """How that server stands, as last found. Raises KeyError for a name that is none."""
    return board.state_of(name)


def states() -> list[ServerState]:
    return [board.state_of(name) for name in NAMES]


def is_away(name: Server) -> bool:
    """Whether it is known to be away; False while that is unknown."""
    return board.state_of(name).up is False


def away(names: Iterable[Server] = NAMES) -> list[ServerState]:
    """Those of `names` that are known to be away."""
    return [state for name in names if (state := board.state_of(name)).up is False]


def suspect(name: Server) -> None:
    """Something just failed with that server: have it looked at now, not at its next turn."""
    board.suspect(name)


def watched() -> bool:
    """Whether this process keeps the states: then it is one that answers people, who do not wait."""
    return board.watched
