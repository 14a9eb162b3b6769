"""To which moments one can go back: base backups, and the archived log that follows without a hole."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from django.db import DatabaseError, connection

from arcweb.backups.exceptions import BackupError, CorruptCopy
from arcweb.backups.physical import archive, chain, segments
from arcweb.backups.physical.archive import Archive

#: A name of the log begins with the timeline; a standby writes none.
HERE = """
    SELECT system_identifier::text,
           CASE WHEN NOT pg_is_in_recovery() THEN left(pg_walfile_name(pg_current_wal_insert_lsn()), 8) END
    FROM pg_control_system()
"""


@dataclass(frozen=True)
class Point:
    """A base backup, whole or incremental, that a recovery can begin with. at: when it is consistent."""

    id: str
    file: str
    format: str
    at: datetime
    proven: bool
    timeline: int
    stop: int  #: the LSN where it is consistent
    first: int  #: the number of the first segment that it needs
    last: int  #: of the last one that is inside of it
    segment_bytes: int


@dataclass(frozen=True)
class Stretch:
    """Moments that can be reached from `point`: from `begin` to `end`, both included.

    missing: the segment whose absence ends it, "" when nothing is archived beyond.
    """

    point: Point
    begin: datetime
    end: datetime
    last_segment: str
    missing: str = ""


@dataclass(frozen=True)
class Picture:
    """stretches: oldest first, one for each base backup on the line of descent. timeline: of that line.

    others: timelines with base backups that this line does not come from. unusable: sentences.
    """

    timeline: int
    stretches: list[Stretch] = field(default_factory=list)
    holes: list[str] = field(default_factory=list)
    others: list[int] = field(default_factory=list)
    unusable: list[str] = field(default_factory=list)
    archived_bytes: int = 0
    trouble: str = ""  #: why the archive is not seen

    @property
    def first(self) -> datetime | None:
        return min((one.begin for one in self.stretches), default=None)

    @property
    def last(self) -> datetime | None:
        return max((one.end for one in self.stretches), default=None)

    def spans(self) -> list[tuple[datetime, datetime]]:
        """The recoverable moments, merged: each from and until, oldest first."""
        found: list[tuple[datetime, datetime]] = []
        for one in sorted(self.stretches, key=lambda each: each.begin):
            if found and one.begin <= found[-1][1]:
                found[-1] = (found[-1][0], max(found[-1][1], one.end))
            else:
                found.append((one.begin, one.end))
        return found

    def best(self, moment: datetime) -> Stretch | None:
        """The stretch with the newest base backup from which that moment can be reached, proven ones first
        among equals of time."""
        fitting = [one for one in self.stretches if one.begin <= moment <= one.end]
        return max(fitting, key=lambda one: one.begin, default=None)


def now_live() -> tuple[str, int]:
    """The system identifier and the timeline of the PostgreSQL that the application uses; "" and 0 when it
    does not answer, or does not say. After an undo its timeline is not the newest one."""
    try:
        with connection.cursor() as cursor:
            cursor.execute(HERE)
            row = cursor.fetchone()
    except DatabaseError:
        return "", 0
    return str(row[0]), int(row[1] or "0", 16)


def look(system: str = "", timeline: int = 0) -> Picture:
    """What can be recovered now, of that cluster (its system identifier; "" for that of the newest copy), on
    that timeline (0: the newest that is known). Asks the catalogue and the archive's folder, no server."""
    points, unusable = _points(chain.known(), system)
    try:
        size = points[-1].segment_bytes if points else segments.SEGMENT_BYTES
        seen, trouble = archive.look(size), ""
    except BackupError as error:
        seen, trouble = None, str(error)
    newest = max([seen.newest_timeline if seen else 1, *(one.timeline for one in points)])
    picture = picture_of(points, seen, timeline or newest)
    return Picture(
        picture.timeline,
        picture.stretches,
        picture.holes,
        picture.others,
        unusable,
        seen.bytes if seen else 0,
        trouble,
    )


def picture_of(points: Sequence[Point], seen: Archive | None, timeline: int) -> Picture:
    """The same for given base backups and a given look at the archive. Pure."""
    steps = seen.descent(timeline) if seen else segments.descent(timeline, "")
    stretches, others = [], set()
    for one in sorted(points, key=lambda each: each.at):
        if not segments.on_the_way(steps, one.timeline, one.stop):
            others.add(one.timeline)
            continue
        stretches.append(_stretch(one, steps, seen))
    present = set(seen.times) if seen else set()
    oldest = min((one.first for one in points), default=0)
    size = seen.segment_bytes if seen else segments.SEGMENT_BYTES
    wanted = {each for each in present if each.number >= oldest}
    return Picture(timeline, stretches, segments.holes(steps, wanted, size) if points else [], sorted(others))


def _stretch(point: Point, steps: Sequence[segments.Step], seen: Archive | None) -> Stretch:
    inside = segments.Segment(point.timeline, point.last).name(point.segment_bytes)
    if seen is None:
        return Stretch(point, point.at, point.at, inside)
    # What is inside of the copy need not be in the archive.
    cover = segments.cover(steps, point.last + 1, set(seen.times), point.segment_bytes)
    if cover.last is None:
        one = segments.Segment(segments.timeline_at(steps, point.last, point.segment_bytes), point.last)
        end = max(point.at, seen.times.get(one, point.at))
        return Stretch(point, point.at, end, inside, cover.missing)
    return Stretch(
        point,
        point.at,
        max(point.at, seen.times[cover.last]),
        cover.last.name(point.segment_bytes),
        cover.missing,
    )


def _points(items: chain.Items, system: str) -> tuple[list[Point], list[str]]:
    """Oldest first, and sentences about those that cannot be used."""
    points: list[Point] = []
    unusable: list[str] = []
    for one in sorted(items.values(), key=lambda each: each.taken_at, reverse=True):
        system = system or one.system
        if one.system != system or one.state == "bad":
            continue
        try:
            points.append(_point(items, one))
        except CorruptCopy as error:
            unusable.append(str(error))
        except (KeyError, TypeError, ValueError):
            unusable.append(f"The manifest of {one.file} does not say what a recovery must know.")
    return sorted(points, key=lambda one: one.at), unusable


def _point(items: chain.Items, one: chain.Item) -> Point:
    chain.ancestors(items, one)
    physical = one.manifest.physical
    size = int(str(physical["segment_bytes"]))
    first = segments.parse(str(physical["first_segment"]), size)
    last = segments.parse(str(physical["last_segment"]), size)
    if first is None or last is None:
        raise ValueError(physical["first_segment"])
    at = datetime.fromisoformat(str(physical["stopped_at"]))
    return Point(
        id=one.id,
        file=one.file,
        format=one.manifest.format,
        at=at if at.tzinfo else at.replace(tzinfo=UTC),
        proven=one.state == "verified",
        timeline=int(str(physical["timeline"])),
        stop=segments.lsn(str(physical["stop_lsn"])),
        first=first.number,
        last=last.number,
        segment_bytes=size,
    )
