"""What the statistics of statements have to say: what is slow, what is missing, what is forgotten."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.urls import reverse

from arcweb.charts import quantity
from arcweb.database.findings import Finding
from arcweb.database.queries import snapshots
from arcweb.database.queries.lexer import first_word
from arcweb.database.queries.snapshots import SLOT, Change, Period
from arcweb.database.queries.statistics import TO_TYPE, NoStatistics, Statistics, info, read, total
from arcweb.database.standing import standing

#: Milliseconds of a mean from which a statement is slow, and calls in an hour that a mean needs.
SLOW_MS, ENOUGH_CALLS = 100.0, 20
WHY_SLOW = (
    "Slow is a mean of 100 ms or more over 20 calls or more in the last hour: people take an answer within "
    "100 ms for immediate (Nielsen, Usability Engineering, 1993), and a page asks several statements."
)
#: Evictions an hour from which figures are not to be trusted: one in each snapshot's slot.
MANY_EVICTIONS = 6.0
WHY_EVICTIONS = (
    "Each eviction forgets the 5 % of statements that are used least (pg_stat_statements.max); at 6 an hour "
    "every snapshot of ten minutes lacks some."
)
#: Statements of people and programs; what VACUUM, COPY or CREATE INDEX take is no wonder.
WORK = ("SELECT", "INSERT", "UPDATE", "DELETE", "MERGE", "WITH", "VALUES", "TABLE")
HALF = 50.0


@dataclass(frozen=True)
class Hour:
    """The last hour, or as much of it as there is; None where nothing has been counted yet."""

    period: Period

    @property
    def slow(self) -> list[Change]:
        """Those that are slow, the slowest first."""
        found = [change for change in self.period.changes if is_slow(change)]
        return sorted(found, key=lambda change: -(change.counted.mean or 0))


def last_hour() -> Hour | None:
    """None while there is no snapshot and the statistics are older: what they count may be months old."""
    now = read()
    snapshot = snapshots.before(now.read_at - timedelta(hours=1))
    if snapshot is None and not _young(now.reset_at, now.read_at):
        return None
    return Hour(snapshots.since(snapshot, now))


def _young(reset_at: datetime | None, now: datetime) -> bool:
    """Whether all that was counted is of the last hour, as on a new server."""
    return reset_at is not None and now - reset_at <= timedelta(hours=1)


def evictions(statistics: Statistics | None = None) -> float | None:
    """How often an hour statements were forgotten, over the last hour, 0 where it never
    happened; None where no snapshot can tell. Asks the server where its statistics are not given.

    Raises NoStatistics.
    """
    if statistics is None:
        reset_at, now, read_at = info()
    else:
        reset_at, now, read_at = statistics.reset_at, statistics.evictions, statistics.read_at
    before = snapshots.header(read_at - timedelta(hours=1))
    if before is not None and before[1] == reset_at:
        seconds = (read_at - before[0]).total_seconds()
        if seconds >= SLOT / 2:
            return max(0, now - before[2]) * 3600 / seconds
    return None if now else 0.0


def is_slow(change: Change) -> bool:
    mean = change.counted.mean
    return (
        mean is not None
        and mean >= SLOW_MS
        and change.counted.calls >= ENOUGH_CALLS
        and first_word(change.entry.text) in WORK
    )


def find() -> Sequence[Finding]:
    """For the verdict, and the page's own sentence. Raises django.db.Error."""
    url = reverse("admin:database_queries")
    try:
        hour = last_hour()
    except NoStatistics as error:
        return [Finding("unknown", str(error), url, "See what to type", statement=TO_TYPE)]
    found: list[Finding] = []
    if why_not := standing().why_not("statements"):
        sentence, _, grant = why_not.rpartition("A superuser allows it with ")
        found.append(
            Finding(
                "unknown",
                f"{sentence.strip()} What their statements cost is not known.",
                url,
                "Show the others",
                statement=grant,
            )
        )
    if hour is None:
        found.append(
            Finding(
                "unknown",
                "No snapshot of the statements has been taken yet: what is slow of late is not known. "
                "The beat takes one every ten minutes.",
                url,
            )
        )
        return found
    slow = hour.slow
    if slow:
        found.append(Finding("warn", slow_sentence(slow), url, "Show the statements", why=WHY_SLOW))
    rate = evictions(hour.period.now)
    if rate is not None and rate >= MANY_EVICTIONS:
        found.append(
            Finding(
                "warn",
                eviction_sentence(rate),
                url,
                "Show what it knows",
                statement="ALTER SYSTEM SET pg_stat_statements.max = 20000;  -- then restart the server",
                why=WHY_EVICTIONS,
            )
        )
    return found


def slow_sentence(slow: Sequence[Change]) -> str:
    first = slow[0].counted
    worst = f"{quantity(first.mean or 0, 'ms')} a call over {first.calls:,} calls"
    if len(slow) == 1:
        return f"A statement took {worst} in the last hour. Its page shows its plan."
    return f"{len(slow)} statements were slow in the last hour, the slowest with {worst}."


def eviction_sentence(rate: float) -> str:
    return (
        f"The server forgot statements {quantity(rate)} times an hour for want of room: the figures of "
        "rare ones are too small."
    )


def dominant(period: Period) -> tuple[Change, float] | None:
    """The statement that takes more than half of the time of all, and its percent. No trouble in itself."""
    whole = total(change.counted for change in period.changes).milliseconds
    largest = max(period.changes, key=lambda change: change.counted.milliseconds, default=None)
    if largest is None or not whole:
        return None
    share = 100 * largest.counted.milliseconds / whole
    return (largest, share) if share > HALF else None
