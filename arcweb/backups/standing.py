"""How well protected each source is: the newest proven restore point, what was tried since, what is bad."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Count, Max, Q
from django.utils import timezone

from arcweb.backups.models import Backup, Source
from arcweb.backups.retention import TOLERANCE
from arcweb.jobs.progress import duration
from arcweb.panels import State

#: A daily copy that was taken and proven in time is never older: a day, and two hours for the work itself.
LATE = timedelta(hours=26)
#: Two days were missed: nobody may find out by needing it.
TOO_OLD = timedelta(hours=50)
#: A kind of copy that was not tried again for so long is not wanted any more: the rarest usual schedule is
#: weekly.
GIVEN_UP = timedelta(days=8)
#: Formats that stand in for each other: a whole copy of one makes up for a failed run of the other. A base
#: backup makes up for no failed dump, which nobody would notice otherwise while both are scheduled.
ALIKE = {"plain": "custom", "incremental": "base"}


@dataclass(frozen=True)
class Standing:
    """One source; a time is None where there is none. failures: failed runs since the last whole copy of
    their kind.

    A copy of one schema or one agent brings back no source, one that is dated in the future is from a clock
    that was wrong, and one of another installation brings back other data: they are no restore points.
    """

    source: str
    now: datetime
    proven_at: datetime | None = None  #: the moment that the newest proven copy holds
    newest_at: datetime | None = None  #: the same of the newest whole copy, proven or not
    verified_at: datetime | None = None  #: when a copy was last proven
    copies: int = 0
    proven: int = 0
    bad: int = 0
    failures: int = 0
    trouble: str = ""  #: the last failure's words
    running: bool = False

    @property
    def title(self) -> str:
        return Source(self.source).label

    @property
    def age(self) -> timedelta | None:
        return self.now - self.proven_at if self.proven_at else None

    @property
    def ago(self) -> str:
        """ "3 h 5 min ago", or "never"."""
        return f"{duration(self.age.total_seconds())} ago" if self.age is not None else "never"

    @property
    def state(self) -> State:
        if self.age is None:
            return "bad" if self.failures or self.bad else "warn"
        if self.age > TOO_OLD:
            return "bad"
        return "warn" if self.age > LATE or self.failures or self.bad else "good"

    @property
    def word(self) -> str:
        if self.age is None:
            return "Not proven" if self.copies else "No copy"
        if self.age > LATE:
            return "Old"
        return "Failing" if self.failures else "Bad copy" if self.bad else "Proven"

    @property
    def sentence(self) -> str:
        """What is so and what to do, for people."""
        said = []
        if self.age is not None:
            said.append(f"Last proven restore point of {self.title}: {self.ago}.")
            if self.age > LATE:
                said.append(
                    "Everything written since would be lost: take a backup, and look why none was proven."
                )
        elif self.copies:
            said.append(
                f"{self.title} has {self.copies} cop{'y' if self.copies == 1 else 'ies'}, none proven: "
                "verify one, or its restore is a hope."
            )
        else:
            said.append(f"{self.title} has no copy. Take a backup.")
        if self.failures:
            tries = "The last run" if self.failures == 1 else f"The last {self.failures} runs"
            said.append(f"{tries} failed{f': {self.trouble}' if self.trouble else '.'}")
        if self.bad:
            said.append(
                f"{self.bad} cop{'y is' if self.bad == 1 else 'ies are'} bad and no longer count"
                f"{'s' if self.bad == 1 else ''}."
            )
        return " ".join(said)


def standings() -> list[Standing]:
    """Every source, PostgreSQL first. Three queries, whatever the number of copies."""
    now = timezone.now()
    point = Q(scope={}, taken_at__lte=now + TOLERANCE)
    whole = point & Q(state__in=["written", "hashed", "verified"])
    proven = point & Q(state="verified")
    found = {
        row["source"]: row
        for row in Backup.objects.ours()
        .order_by()
        .values("source")
        .annotate(
            proven_at=Max("taken_at", filter=proven),
            newest_at=Max("taken_at", filter=whole),
            last_verified=Max("verified_at"),
            copies=Count("id", filter=whole),
            proven=Count("id", filter=proven),
            bad=Count("id", filter=Q(state="bad")),
            active=Count("id", filter=Q(state="running")),
        )
    }
    failures = _failures(now, whole)
    return [
        Standing(
            source,
            now,
            row["proven_at"],
            row["newest_at"],
            row["last_verified"],
            row["copies"],
            row["proven"],
            row["bad"],
            len(failures.get(source, [])),
            failures.get(source, [""])[0],
            bool(row["active"]),
        )
        if (row := found.get(source))
        else Standing(source, now)
        for source in Source.values
    ]


def _failures(now: datetime, whole: Q) -> dict[str, list[str]]:
    """Source → troubles of the runs that failed since the last whole copy of their kind, newest first."""
    last: dict[tuple[str, str], datetime] = {}
    any_kind: dict[str, datetime] = {}
    made = Backup.objects.ours().filter(whole).order_by().values_list("source", "format")
    for source, format_, at in made.annotate(at=Max("created_at")):
        kind = (source, ALIKE.get(format_, format_))
        last[kind] = max(at, last.get(kind, at))
        any_kind[source] = max(at, any_kind.get(source, at))
    found: dict[str, list[str]] = {}
    for source, format_, created, trouble in (
        Backup.objects.ours()
        .filter(state="failed")
        .order_by("-created_at")
        .values_list("source", "format", "created_at", "trouble")[:100]
    ):
        made_up = last.get((source, ALIKE.get(format_, format_)))
        given_up = source in any_kind and created < min(any_kind[source], now - GIVEN_UP)
        if not given_up and (made_up is None or created > made_up):
            found.setdefault(source, []).append(trouble)
    return found
