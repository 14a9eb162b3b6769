"""Names of files of the write-ahead log, what they cover, and which of them nobody needs. No Django.

A segment's name is timeline, high and low half of its number, eight hexadecimal digits each
(https://www.postgresql.org/docs/current/wal-internals.html); LSN means a byte's position in the log. A
timeline's history file names the timelines that it came from and where each was left.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

#: initdb's default, and what our own clusters have.
SEGMENT_BYTES = 16 * 1024**2
SEGMENT = re.compile(r"([0-9A-F]{8})([0-9A-F]{8})([0-9A-F]{8})(?:\.gz)?")
HISTORY = re.compile(r"([0-9A-F]{8})\.history(?:\.gz)?")
#: Of a base backup's beginning: the archive of one that was taken by other means.
LABEL = re.compile(r"[0-9A-F]{24}\.[0-9A-F]{8}\.backup(?:\.gz)?")
#: "timeline <tab> LSN <tab> reason", the oldest first.
HISTORY_LINE = re.compile(r"\s*(\d+)\s+([0-9A-Fa-f]+)/([0-9A-Fa-f]+)")


@dataclass(frozen=True, order=True)
class Segment:
    """The segment with that number, counted from the log's first byte, as that timeline wrote it."""

    timeline: int
    number: int

    def name(self, size: int = SEGMENT_BYTES) -> str:
        each = 2**32 // size
        return f"{self.timeline:08X}{self.number // each:08X}{self.number % each:08X}"


@dataclass(frozen=True)
class Step:
    """A timeline of a line of descent. until: the LSN where the next one left it; None for the last."""

    timeline: int
    until: int | None


@dataclass(frozen=True)
class Cover:
    """What follows a base backup without a hole. first, last: numbers of segments; last is None when not even
    the first is there. missing: the name of the first absent one, when some later one exists."""

    first: int
    last: Segment | None
    missing: str


def parse(name: str, size: int = SEGMENT_BYTES) -> Segment | None:
    """The segment of that file, None for any other file."""
    found = SEGMENT.fullmatch(name)
    if found is None:
        return None
    timeline, high, low = (int(part, 16) for part in found.groups())
    each = 2**32 // size
    return Segment(timeline, high * each + low) if low < each and timeline else None


def lsn(text: str) -> int:
    """The position behind "16/B374D848". Raises ValueError."""
    high, _, low = text.partition("/")
    return (int(high, 16) << 32) + int(low, 16)


def descent(timeline: int, history: str) -> list[Step]:
    """The line of descent that ends in `timeline`, by the text of its history file ("" for the first)."""
    found = filter(None, map(HISTORY_LINE.match, history.splitlines()))
    steps = [Step(int(one[1]), (int(one[2], 16) << 32) + int(one[3], 16)) for one in found]
    return [*steps, Step(timeline, None)]


def timeline_at(steps: Sequence[Step], number: int, size: int = SEGMENT_BYTES) -> int:
    """Which timeline's file of that number a recovery along `steps` reads.

    The segment in which a timeline ends was copied whole into the first of the next one.
    """
    for step in steps:
        if step.until is None or number < step.until // size:
            return step.timeline
    return steps[-1].timeline


def on_the_way(steps: Sequence[Step], timeline: int, position: int) -> bool:
    """Whether a cluster on `timeline` at that LSN stands on this line of descent."""
    return any(step.timeline == timeline and (step.until is None or position <= step.until) for step in steps)


def cover(
    steps: Sequence[Step], first: int, present: Collection[Segment], size: int = SEGMENT_BYTES
) -> Cover:
    """How far `present` reaches along `steps` from the segment with the number `first` on."""
    number, last = first, None
    while (wanted := Segment(timeline_at(steps, number, size), number)) in present:
        last = wanted
        number += 1
    beyond = any(
        one.number > number and one.timeline == timeline_at(steps, one.number, size) for one in present
    )
    return Cover(first, last, wanted.name(size) if beyond else "")


def unneeded(names: Iterable[str], oldest: int | None, size: int = SEGMENT_BYTES) -> list[str]:
    """Files that no recovery can use: segments and labels before the number `oldest`, the first segment that
    the oldest kept base backup needs, whatever their timeline. None: no base backup is kept, so no segment is
    of use. History files stay for ever: they are small, and without them a number could be given twice.
    """
    found = []
    for name in names:
        one = parse(name[:24], size) if LABEL.fullmatch(name) else parse(name, size)
        if one is not None and (oldest is None or one.number < oldest):
            found.append(name)
    return sorted(found)


def holes(steps: Sequence[Step], present: Collection[Segment], size: int = SEGMENT_BYTES) -> list[str]:
    """The first missing name of each hole between present segments of this line of descent."""
    numbers = sorted({one.number for one in present if one.timeline == timeline_at(steps, one.number, size)})
    return [
        Segment(timeline_at(steps, left + 1, size), left + 1).name(size)
        for left, right in pairwise(numbers)
        if right > left + 1
    ]
