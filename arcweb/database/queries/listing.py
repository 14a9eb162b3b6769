"""The list of statements over a period: chosen, filtered, sorted, with shares of the whole.

pg_stat_statements knows no application_name. ARC Web's own statements are therefore told by two things that
it does know: the role that runs them, and the tables that they name. Those that name nothing but ARC Web's
bookkeeping (jobs, samples, sessions, events, …) or the server's own views are its housekeeping. A statement
on agents or memories is work for the agents, whoever sends it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache

from django.apps import apps

from arcweb.database.queries import snapshots
from arcweb.database.queries.findings import is_slow
from arcweb.database.queries.lexer import first_word
from arcweb.database.queries.snapshots import Change, Period
from arcweb.database.queries.statistics import Counters, Entry, Statistics, total
from arcweb.database.queries.texts import shown, tables

#: name in the address → (on the button, how long)
PERIODS: dict[str, tuple[str, timedelta | None]] = {
    "hour": ("Last hour", timedelta(hours=1)),
    "day": ("Last day", timedelta(days=1)),
    "week": ("Last 7 days", timedelta(days=7)),
    "reset": ("Since the reset", None),
}
Number = Callable[["Line"], float]
#: name in the address → (heading, what is compared); the largest first.
SORTS: dict[str, tuple[str, Number]] = {
    "total": ("Total time", lambda line: line.counted.milliseconds),
    "mean": ("Mean", lambda line: line.counted.mean or 0),
    "calls": ("Calls", lambda line: line.counted.calls),
    "rows": ("Rows", lambda line: line.counted.rows),
    "hit": ("Hit ratio", lambda line: -(101 if line.counted.hit_ratio is None else line.counted.hit_ratio)),
    "temp": ("Temp files", lambda line: line.counted.temp),
    "wal": ("WAL", lambda line: line.counted.wal),
}
WHOSE = {"": "Everybody’s", "others": "Not ARC Web’s own", "own": "ARC Web’s own"}  # noqa: RUF001
#: Lines of a page.
MOST = 100
#: Calls from which a mean is compared with another, and by how much it must differ to be told.
ENOUGH_CALLS, SLOWER = 20, 1.5
#: Statements that go with others, whatever they are about.
NAME_NOTHING = ("SELECT", "BEGIN", "COMMIT", "ROLLBACK", "SET", "SHOW", "SAVEPOINT", "RELEASE", "CLOSE")
#: The server's own tables and views.
OF_THE_SERVER = re.compile(r"^pg_")


@dataclass(frozen=True)
class Line:
    change: Change
    share: float  #: percent of the time of all statements in the period
    own_role: str

    @property
    def own(self) -> bool:
        return is_housekeeping(self.entry, self.own_role)

    @property
    def entry(self) -> Entry:
        return self.change.entry

    @property
    def counted(self) -> Counters:
        return self.change.counted

    @property
    def slow(self) -> bool:
        return is_slow(self.change)

    @property
    def text(self) -> str:
        return shown(self.entry.text)

    @property
    def word(self) -> str:
        """What kind of statement it is, for those who may not see its text."""
        return first_word(self.entry.text) or "?"

    @property
    def mean_before(self) -> float | None:
        """Milliseconds a call before the period, where that says something."""
        if min(self.change.before.calls, self.counted.calls) < ENOUGH_CALLS:
            return None
        was, now = self.change.before.mean, self.counted.mean
        if not was or not now or max(was / now, now / was) < SLOWER or max(was, now) < 1:
            return None
        return was


@dataclass(frozen=True)
class Listing:
    period: Period
    lines: list[Line]  #: at most MOST
    found: int  #: how many there were
    whole: Counters
    roles: list[str]


def choose(name: str, asked: datetime | None, now: Statistics) -> Period:
    """The period of one of PERIODS, or since a moment that somebody chose."""
    if asked is None:
        span = PERIODS[name][1]
        if span is None:
            return snapshots.since(None, now)
        asked = now.read_at - span
    return snapshots.since(snapshots.before(asked), now)


def listing(
    period: Period,
    *,
    sort: str = "total",
    text: str = "",
    role: str = "",
    whose: str = "",
    own_role: str = "",
) -> Listing:
    """text: words that must all be in the statement; own_role: the role of ARC Web."""
    whole = total(change.counted for change in period.changes)
    lines = [
        Line(
            change,
            100 * change.counted.milliseconds / whole.milliseconds if whole.milliseconds else 0.0,
            own_role,
        )
        for change in period.changes
    ]
    words = text.lower().split()
    kept = [
        line
        for line in lines
        if (not role or line.entry.role == role)
        and (not whose or line.own == (whose == "own"))
        and _has(line.entry.text, words)
    ]
    key = SORTS[sort][1]
    kept.sort(key=lambda line: (-key(line), -line.counted.milliseconds))
    roles = sorted({change.entry.role for change in period.changes})
    return Listing(period, kept[:MOST], len(kept), whole, roles)


def _has(text: str, words: list[str]) -> bool:
    """Whether all the words are in what is shown of it: a masked password is not found by trying."""
    lower = text.lower()
    return all(word in lower for word in words) and (
        not words or all(word in shown(text).lower() for word in words)
    )


def is_housekeeping(entry: Entry, own_role: str) -> bool:
    """By its role and the tables that it names; see the module."""
    if entry.role != own_role:
        return False
    named = tables(entry.text)
    if not named:
        return first_word(entry.text) in NAME_NOTHING
    return all(name in _bookkeeping() or OF_THE_SERVER.match(name) for name in named)


@cache
def _bookkeeping() -> frozenset[str]:
    """The last part of the names of the tables of ARC Web's own apps, and of Django's."""
    return frozenset(_tables()) - _of_the_agents()


@cache
def _of_the_agents() -> frozenset[str]:
    """Tables of apps outside the platform that hold something: what the agents live on."""
    return frozenset(
        _bare(model._meta.db_table)
        for config in apps.get_app_configs()
        if not config.name.startswith(("arcweb", "django."))
        for model in config.get_models()
        if model._meta.managed
    )


def _tables() -> Iterable[str]:
    return (_bare(model._meta.db_table) for model in apps.get_models(include_auto_created=True))


def _bare(table: str) -> str:
    return table.replace('"', "").rpartition(".")[2].lower()
