"""Which copies stay and which go, and why. Pure.

Only proven copies count. The rules speak of the periods that have a copy, not of the days since today: the
newest copy of each of the last n days (weeks, …) *with a copy* stays, so that a wrong clock and weeks without
a backup delete nothing. Days, ISO weeks, months and years are those of UTC.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from typing import Literal

#: "away": its files cannot be seen, or not now.
State = Literal["running", "written", "hashed", "verified", "bad", "failed", "away"]

#: How long a copy stays that was never proven although a newer one was; and what a failed run left behind.
LEFTOVER = timedelta(days=7)
#: How long a corrupt copy stays as evidence, once a newer one is proven.
EVIDENCE = timedelta(days=30)
#: A copy dated further ahead than this is from a clock that was wrong: it counts for nothing, and stays.
TOLERANCE = timedelta(hours=1)

LAST_PROVEN = "the last proven copy"


@dataclass(frozen=True)
class Policy:
    """How many proven copies of a group stay; of each period its newest."""

    last: int = 7
    daily: int = 7
    weekly: int = 4
    monthly: int = 12
    yearly: int = 3

    def __post_init__(self) -> None:
        if low := [field.name for field in fields(self) if getattr(self, field.name) < 0]:
            raise ValueError(f"No policy keeps fewer than 0 copies: {', '.join(low)}.")


@dataclass(frozen=True)
class Copy:
    """What retention knows of a copy. Times are aware."""

    id: str
    #: Copies of one group stand in for each other: of the same source, of the same kind and scope.
    group: str
    state: State
    taken_at: datetime  #: the moment that it holds
    since: datetime  #: since when this catalogue knows it; of a bad one, since when it is known to be bad
    pinned: bool = False
    parent: str | None = None  #: what an incremental copy builds upon
    #: A scan or an upload brought it: nobody has said yet what it is worth.
    found: bool = False
    #: Of another installation: it counts for nothing here, and whoever brought it takes it away.
    elsewhere: bool = False


@dataclass(frozen=True)
class Decision:
    """Every id is in exactly one of the two. `delete` names no copy before those that build upon it."""

    keep: dict[str, tuple[str, ...]]  #: why each stays: words for behind "stays:"
    delete: tuple[str, ...]
    why: dict[str, str]  #: why each of `delete` goes


def choose(copies: Iterable[Copy], policy: Policy, now: datetime) -> Decision:
    """What stays and what goes under that policy at `now` (aware).

    Whatever the policy and the clock say, the newest proven copy of each group stays, pinned ones stay, and
    so does what a staying incremental copy builds upon, and what is from elsewhere. Copies that are not
    proven, or from elsewhere, push out none that is.
    Raises ValueError when two copies have one id.
    """
    several = list(copies)
    known = {copy.id: copy for copy in several}
    if len(known) != len(several):
        raise ValueError("Two copies have the same id.")
    keep: dict[str, list[str]] = defaultdict(list)
    why: dict[str, str] = {}
    groups: dict[str, list[Copy]] = defaultdict(list)
    for copy in sorted(several, key=_newest_first, reverse=True):
        groups[copy.group].append(copy)
    for members in groups.values():
        counted = [one for one in members if _counts(one, known) and not _ahead(one, now)]
        newest = counted[0] if counted else None
        _by_the_rules(counted, policy, keep)
        for copy in members:
            if _counts(copy, known) and not _ahead(copy, now):
                if copy.id not in keep:
                    why[copy.id] = "no rule keeps it"
            elif reason := _leftover(copy, newest, known, now):
                why[copy.id] = reason
            else:
                keep[copy.id].append(_why_unproven_stays(copy, newest, known, now))
    for copy in several:
        if copy.pinned:
            keep[copy.id].insert(0, "pinned")
    _keep_what_they_build_upon(known, keep)
    going = [copy for copy in several if copy.id not in keep]
    going.sort(key=lambda copy: (-len(_chain(copy, known)), _newest_first(copy)))
    return Decision(
        {copy.id: tuple(keep[copy.id]) for copy in several if copy.id in keep},
        tuple(copy.id for copy in going),
        {copy.id: why[copy.id] for copy in going},
    )


def is_last_proven(id_: str, copies: Iterable[Copy], now: datetime) -> bool:
    """Whether that copy is proven, and none would be left proven in its group without it.

    One that builds upon it would not be left, and one that is dated in the future is no substitute.
    """
    several = list(copies)
    known = {copy.id: copy for copy in several}
    asked = known[id_]
    if not _counts(asked, known):
        return False
    without = {key: copy for key, copy in known.items() if key != id_}
    return not any(
        _counts(copy, without) and not _ahead(copy, now)
        for copy in without.values()
        if copy.group == asked.group
    )


def children(id_: str, copies: Iterable[Copy]) -> list[str]:
    """The copies that build upon that one, directly or not."""
    several = list(copies)
    known = {copy.id: copy for copy in several}
    return [copy.id for copy in several if any(one.id == id_ for one in _chain(copy, known))]


def _newest_first(copy: Copy) -> tuple[datetime, str]:
    return copy.taken_at, copy.id


def _ahead(copy: Copy, now: datetime) -> bool:
    return copy.taken_at > now + TOLERANCE


def _chain(copy: Copy, known: dict[str, Copy]) -> list[Copy]:
    """What it builds upon, nearest first, as far as that is known; a circle is walked once."""
    found: list[Copy] = []
    walked = {copy.id}
    parent = copy.parent
    while parent is not None and parent in known and parent not in walked:
        walked.add(parent)
        found.append(known[parent])
        parent = known[parent].parent
    return found


def _broken(copy: Copy, known: dict[str, Copy]) -> bool:
    """Whether something that it builds upon is gone, bad, or it builds upon itself."""
    chain = _chain(copy, known)
    ends = (chain[-1] if chain else copy).parent
    return ends is not None or any(one.state in ("bad", "failed", "running", "away") for one in chain)


def _counts(copy: Copy, known: dict[str, Copy]) -> bool:
    return copy.state == "verified" and not copy.elsewhere and not _broken(copy, known)


def _day(moment: datetime) -> tuple[int, ...]:
    return moment.year, moment.month, moment.day


def _week(moment: datetime) -> tuple[int, ...]:
    return moment.isocalendar()[:2]


def _month(moment: datetime) -> tuple[int, ...]:
    return moment.year, moment.month


def _year(moment: datetime) -> tuple[int, ...]:
    return (moment.year,)


#: The period of a time in UTC, what it is called, and how the newest of one is.
_PERIODS: tuple[tuple[str, Callable[[datetime], tuple[int, ...]], str], ...] = (
    ("daily", _day, "the newest of the day {0}-{1:02}-{2:02}"),
    ("weekly", _week, "the newest of the week {0}-W{1:02}"),
    ("monthly", _month, "the newest of the month {0}-{1:02}"),
    ("yearly", _year, "the newest of the year {0}"),
)


def _by_the_rules(counted: Sequence[Copy], policy: Policy, keep: dict[str, list[str]]) -> None:
    """Notes what the policy keeps of a group's proven copies, which come newest first."""
    if counted:
        keep[counted[0].id].append(LAST_PROVEN)
    for copy in counted[: policy.last]:
        keep[copy.id].append(f"one of the last {policy.last}" if policy.last > 1 else "the last")
    for name, period, words in _PERIODS:
        seen: set[tuple[int, ...]] = set()
        for copy in counted:
            mark = period(copy.taken_at.astimezone(UTC))
            if mark not in seen and len(seen) < getattr(policy, name):
                keep[copy.id].append(words.format(*mark))
            seen.add(mark)


def _leftover(copy: Copy, proven: Copy | None, known: dict[str, Copy], now: datetime) -> str:
    """Why a copy that does not count goes; "" when it stays. proven: the newest of its group that counts."""
    age = now - copy.since
    if copy.elsewhere or copy.state in ("running", "away") or _ahead(copy, now):
        return ""
    if copy.state == "failed":
        return f"a failed run left it {age.days} days ago" if age >= LEFTOVER else ""
    if proven is None or copy.taken_at > proven.taken_at:
        return ""
    if copy.state == "bad":
        return f"corrupt for {age.days} days, and a newer copy is proven" if age >= EVIDENCE else ""
    if copy.found or age < LEFTOVER:
        return ""
    if _broken(copy, known):
        return "what it builds upon is gone or corrupt, and a newer copy is proven"
    return f"not proven in {age.days} days, and a newer copy is"


def _why_unproven_stays(copy: Copy, proven: Copy | None, known: dict[str, Copy], now: datetime) -> str:
    if copy.elsewhere:
        return "from elsewhere: it counts for nothing here, and goes by hand alone"
    if copy.state == "running":
        return "being taken"
    if copy.state == "away":
        return "its files cannot be seen now: it counts for nothing"
    if _ahead(copy, now):
        return "dated in the future: a clock was wrong, so that it counts for nothing"
    if copy.state == "failed":
        return f"what a failed run left, for {LEFTOVER.days} days"
    if copy.state == "bad":
        older = proven is not None and copy.taken_at <= proven.taken_at
        held = f"for {EVIDENCE.days} days" if older else "until a newer copy is proven"
        return f"corrupt: kept as evidence {held}, counts for nothing"
    if proven is None:
        return "not proven, but no copy is: nothing goes before one is proven"
    if copy.found:
        return "found, and judged by nobody yet: verify it, or delete it by hand"
    if _broken(copy, known):
        return "what it builds upon is gone or corrupt: it counts for nothing"
    return "not proven yet"


def _keep_what_they_build_upon(known: dict[str, Copy], keep: dict[str, list[str]]) -> None:
    for id_ in list(keep):
        for one in _chain(known[id_], known):
            if "a kept incremental copy builds upon it" not in keep[one.id]:
                keep[one.id].append("a kept incremental copy builds upon it")
