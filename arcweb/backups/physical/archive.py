"""The archive of the write-ahead log as this machine sees it: what is there, and what may go."""

from __future__ import annotations

import gzip
import os
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from django.conf import settings

from arcweb.backups import seals
from arcweb.backups.exceptions import BackupError
from arcweb.backups.models import Backup, Format, Source
from arcweb.backups.physical import chain, copies, segments
from arcweb.backups.physical.segments import SEGMENT_BYTES, Segment, Step
from arcweb.embedded.wal import ARCHIVE

#: What no base backup uses is kept so long: somebody may be about to take one.
GRACE = timedelta(days=1)
#: A history file has a line for each time that the cluster was restored.
LONGEST_HISTORY = 1024 * 1024
UNSET = (
    "This program does not see the archive of the write-ahead log. Have PostgreSQL archive to a folder that "
    "is mounted here too, and set ARC_WAL_ARCHIVE_DIR to it (docs/backups/physical.md)."
)


@dataclass(frozen=True)
class Archive:
    """What was in the folder at one look. times: when each segment was archived."""

    folder: Path
    segment_bytes: int = SEGMENT_BYTES
    times: dict[Segment, datetime] = field(default_factory=dict)
    histories: dict[int, str] = field(default_factory=dict)
    bytes: int = 0

    def descent(self, timeline: int) -> list[Step]:
        """The line of descent that ends in that timeline, as far as its history file is here."""
        return segments.descent(timeline, self.histories.get(timeline, ""))

    @property
    def newest_timeline(self) -> int:
        return max([1, *self.histories, *(one.timeline for one in self.times)])


def folder() -> Path | None:
    """Where the archive is, None where this machine does not see one."""
    if settings.ARC_WAL_ARCHIVE_DIR:
        return Path(settings.ARC_WAL_ARCHIVE_DIR)
    if settings.ARC_EMBEDDED:
        found: Path = settings.ARC_LAYOUT.real_servers_dir / ARCHIVE
        return found
    return None


def why_not() -> str:
    """Why there is no archive to look at, and what to do; "" when there is one."""
    place = folder()
    if place is None:
        return UNSET
    if os.path.isdir(place):  # noqa: PTH112 - False too where it may not be asked
        return ""
    if settings.ARC_WAL_ARCHIVE_DIR:
        return (
            f"ARC_WAL_ARCHIVE_DIR is {place}, and there is no such folder here, or it may not be looked into."
        )
    return (
        "The embedded PostgreSQL archives its log from its next start on: stop `make run` and start it again."
    )


def look(segment_bytes: int = SEGMENT_BYTES) -> Archive:
    """What is in the archive now. Raises BackupError when it cannot be looked into."""
    if reason := why_not():
        raise BackupError(reason)
    place = folder()
    assert place is not None  # noqa: S101 - why_not says so
    times: dict[Segment, datetime] = {}
    histories: dict[int, str] = {}
    total = 0
    try:
        for path in place.iterdir():
            if one := segments.parse(path.name, segment_bytes):
                try:
                    found = path.stat()
                except FileNotFoundError:
                    continue  # pruned while we looked, or a link to nowhere
                times[one] = datetime.fromtimestamp(found.st_mtime, UTC)
                total += found.st_size
            elif named := segments.HISTORY.fullmatch(path.name):
                histories[int(named[1], 16)] = _text(path)
    except OSError as error:
        raise BackupError(f"The archive {place} cannot be read: {error.strerror}.") from error
    return Archive(place, segment_bytes, times, histories, total)


def path_of(archive: Archive, one: Segment) -> Path | None:
    """The file of that segment, compressed or not."""
    for ending in (".gz", ""):
        path = archive.folder / f"{one.name(archive.segment_bytes)}{ending}"
        if path.is_file():
            return path
    return None


@dataclass(frozen=True)
class Pruned:
    """files, bytes: that went; trouble: why one did not, "" when all did."""

    files: int = 0
    bytes: int = 0
    trouble: str = ""


def prune(*, now: datetime | None = None) -> Pruned:
    """Removes segments that no moment of the last ARC_WAL_DAYS needs. What is younger than a day stays.

    Needed is what follows the newest base backup from before those days, or the oldest one in them. An older
    one holds its own moment and the log for it, and no other. What is not proven pushes out no log that a
    proven one needs. Where no archive is seen nothing is done. Bad copies hold their segments too: somebody
    may mend them. The log belongs to the cluster, whatever database is live in it: every base backup of it
    counts that bears our seal, and one in the folder that the catalogue cannot speak of holds all of the log.
    """
    moment = now or datetime.now(UTC)
    if why_not():
        return Pruned()
    rows = Backup.objects.exclude(owner=seals.ELSEWHERE).filter(
        source=Source.POSTGRES,
        format__in=[Format.BASE, Format.INCREMENTAL],
        state__in=["running", "written", "hashed", "verified", "bad"],
    )
    kept = list(rows)
    if any(row.manifest is None for row in kept):
        return Pruned()  # one is being taken: what it will need is not known yet
    if _unknown(kept):
        return Pruned()
    begin = moment - timedelta(days=settings.ARC_WAL_DAYS)
    needed = [row for cluster in _clusters(kept) for row in _needed(cluster, begin)]
    physical = [(row.manifest or {}).get("physical", {}) for row in needed]
    size = max((int(one.get("segment_bytes", SEGMENT_BYTES)) for one in physical), default=SEGMENT_BYTES)
    first = [segments.parse(str(one.get("first_segment")), size) for one in physical]
    if any(one is None for one in first):
        return Pruned()  # a copy that does not say what it needs
    found = look(size)
    oldest = min((one.number for one in first if one is not None), default=None)
    before = moment - GRACE
    files, total, trouble = 0, 0, ""
    for name in segments.unneeded((path.name for path in found.folder.iterdir()), oldest, size):
        path = found.folder / name
        try:
            status = path.stat()
            if datetime.fromtimestamp(status.st_mtime, UTC) >= before:
                continue
            path.unlink()
        except FileNotFoundError:
            continue
        except OSError as error:
            trouble = f"{path} cannot be removed: {error.strerror}."
            continue
        files, total = files + 1, total + status.st_size
    return Pruned(files, total, trouble)


def _needed(kept: list[Backup], begin: datetime) -> list[Backup]:
    """Which of a cluster's base backups the moments since `begin` are reached from."""
    # A recovery has to begin with one that can be read: what is proven, or, while nothing is, not known bad.
    old = [row for row in kept if row.taken_at and row.taken_at <= begin and row.state != "bad"]
    usable = [row for row in old if row.state == "verified"] or old
    latest = max((row.taken_at for row in usable if row.taken_at), default=begin)
    return [row for row in kept if row.taken_at is None or row.taken_at >= latest]


def _clusters(kept: list[Backup]) -> list[list[Backup]]:
    """The base backups of the live cluster alone; of every cluster by itself while there is none of it, as
    on a new server: the archive is then that of before."""
    from arcweb.backups.physical import timeline  # which reads the archive

    found: dict[str, list[Backup]] = {}
    for row in kept:
        found.setdefault(str((row.manifest or {}).get("physical", {}).get("system", "")), []).append(row)
    live = timeline.now_live()[0]
    return [found[live]] if live in found else list(found.values())


def _unknown(kept: list[Backup]) -> bool:
    """Whether a base backup lies in the folder that the catalogue has never heard of, as after the loss of
    the database, or any at all while none counts: a scan, or a SECRET_KEY put back, will tell. So does a
    folder that cannot be read."""
    try:
        os.scandir(copies.folder()).close()  # a search for names takes what it may not read for empty
    except FileNotFoundError:
        pass
    except OSError:
        return True
    there = {uuid.UUID(one.id) for one in chain.on_disk(copies.folder()) if one.local}
    known = set(Backup.objects.filter(pk__in=there).values_list("pk", flat=True))
    return bool(there - known) or (bool(there) and not kept)


def _text(path: Path) -> str:
    try:
        if path.name.endswith(".gz"):
            with gzip.open(path) as file:
                return file.read(LONGEST_HISTORY).decode(errors="replace")
        return path.read_text(errors="replace")[:LONGEST_HISTORY]
    except (OSError, EOFError):
        return ""
