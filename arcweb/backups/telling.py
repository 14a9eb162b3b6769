"""Figures of the backups for samples, alarms, metrics and charts, all from the catalogue or the disk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from statistics import median
from typing import NamedTuple

from django.conf import settings
from django.db.models import Min, QuerySet
from django.utils import timezone

from arcweb.backups import streams
from arcweb.backups.models import Backup, Format, Schedule, Source
from arcweb.backups.standing import GIVEN_UP, Standing, standings
from arcweb.charts import Drawing, draw, quantity, scaled, size
from arcweb.panels import Chart

#: Copies before the newest that its size is compared with.
COMPARED = 7
#: Copies in a chart.
CHARTED = 60


def free_bytes() -> int | None:
    """What may still be written to the folder of the backups; None where it cannot be known."""
    folder = Path(settings.ARC_BACKUP_DIR)
    try:
        while not folder.exists() and folder != folder.parent:
            folder = folder.parent
        return streams.free_bytes(folder)
    except OSError:
        return None


def installed_at() -> datetime | None:
    """When backups began to be kept here: the oldest schedule or copy."""
    moments = [
        Schedule.objects.aggregate(at=Min("created_at"))["at"],
        Backup.objects.ours().aggregate(at=Min("created_at"))["at"],
    ]
    return min((one for one in moments if one), default=None)


def figures() -> dict[str, float]:
    """For the samples, by source. Times are seconds since 1970; what there is none of is left out."""
    found: dict[str, float] = {}
    for one in standings():
        if one.proven_at:
            found[f"proven_at:{one.source}"] = one.proven_at.timestamp()
        found[f"copies:{one.source}"] = one.copies
        found[f"proven:{one.source}"] = one.proven
        found[f"bad:{one.source}"] = one.bad
        found[f"failures:{one.source}"] = one.failures
    if began := installed_at():
        found["since"] = began.timestamp()
    if (free := free_bytes()) is not None:
        found["free"] = free
    return found


@dataclass(frozen=True)
class Anomaly:
    """The newest whole copy beside the median of those before it. times: at least 1, whichever is larger."""

    newest: Backup
    usual: float
    times: float

    @property
    def sentence(self) -> str:
        what = "larger" if (self.newest.raw_bytes or 0) > self.usual else "smaller"
        return (
            f"The newest copy of {self.newest.get_source_display()} "
            f"({self.newest.get_format_display()}) holds "
            f"{size(self.newest.raw_bytes or 0)}, {quantity(self.times)} times {what} than usual "
            f"({size(self.usual)}): look whether data are missing, or what grew."
        )


def anomaly() -> Anomaly | None:
    """The strangest of the newest whole copies of PostgreSQL, one of each format.

    None where none is of these days, or has three others of its like to compare with. Incremental copies are
    as large as the changes, and those of Redis as what waits and is cached at the moment: neither is judged.
    """
    whole = (
        Backup.objects.ours()
        .filter(
            source=Source.POSTGRES, state__in=["written", "hashed", "verified"], scope={}, raw_bytes__gt=0
        )
        .exclude(format=Format.INCREMENTAL)
    )
    newest = whole.order_by("format", "-taken_at").distinct("format").defer("manifest")
    wanted = [one for one in newest if one.taken_at and timezone.now() - one.taken_at < GIVEN_UP]
    found = [one for one in (_beside(one, whole) for one in wanted) if one is not None]
    return max(found, key=lambda one: one.times, default=None)


def _beside(newest: Backup, whole: QuerySet[Backup]) -> Anomaly | None:
    before = (
        whole.filter(format=newest.format, taken_at__lt=newest.taken_at)
        .order_by("-taken_at")
        .values_list("raw_bytes", flat=True)[:COMPARED]
    )
    sizes = [float(one) for one in before if one]
    if len(sizes) < 3 or not newest.raw_bytes:
        return None
    usual = median(sizes)
    return Anomaly(newest, usual, max(newest.raw_bytes / usual, usual / newest.raw_bytes))


class Room(NamedTuple):
    """copies: how many more fit. free: bytes. largest: the copy that they are as large as."""

    copies: float
    free: int
    largest: Backup


def fits() -> Room | None:
    """How many more copies of PostgreSQL fit, of the kind that takes most; None: unknown.

    Of each kind the newest is looked at: room for incremental copies is none for the whole one of Sunday.
    """
    newest = (
        Backup.objects.ours()
        .filter(source=Source.POSTGRES, state__in=["written", "hashed", "verified"], scope={}, bytes__gt=0)
        .order_by("format", "-taken_at")
        .distinct("format")
        .only("format", "bytes")
    )
    largest = max(newest, key=lambda one: one.bytes or 0, default=None)
    free = free_bytes()
    if largest is None or free is None:
        return None
    return Room(max(0, free - streams.RESERVE) / (largest.bytes or 1), free, largest)


def drawings() -> list[Drawing]:
    """Sizes and durations of the copies of PostgreSQL over time, oldest first."""
    rows = list(
        Backup.objects.ours()
        .filter(source=Source.POSTGRES, format__in=["custom", "plain"], scope={}, bytes__gt=0)
        .exclude(taken_at=None)
        .only("taken_at", "bytes", "created_at", "finished_at", "verify_seconds")
        .order_by("-taken_at")[:CHARTED]
    )[::-1]
    if not rows:
        return []
    _, unit = scaled(max(one.bytes or 0 for one in rows))
    step = 1024 ** ("B", "kB", "MB", "GB", "TB").index(unit)
    moments = [one.taken_at or one.created_at for one in rows]
    columns: list[tuple[str, str, list[float | None]]] = [
        ("Size of a copy", unit, [(one.bytes or 0) / step for one in rows]),
        (
            "Time to take it",
            "s",
            [(one.finished_at - one.created_at).total_seconds() if one.finished_at else None for one in rows],
        ),
        ("Time to prove it", "s", [one.verify_seconds for one in rows]),
    ]
    return [_drawn(title, list(zip(moments, values, strict=True)), unit) for title, unit, values in columns]


def _drawn(title: str, points: Sequence[tuple[datetime, float | None]], unit: str) -> Drawing:
    values = [value for _, value in points if value is not None]
    said = (
        f"{quantity(values[-1], unit)} last, {quantity(min(values))} to {quantity(max(values), unit)} "
        f"over {len(points)} copies"
        if values
        else ""
    )
    return draw(Chart(title, tuple(points), unit, said), from_zero=True)


def hours_unproven(one: Standing) -> float | None:
    """Hours since the newest proven restore point, or since backups began where there is none."""
    since = one.proven_at or installed_at()
    return (timezone.now() - since).total_seconds() / 3600 if since else None
