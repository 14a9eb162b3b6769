"""The timeline as a drawing: spans of recoverable moments, base backups on them; numbers for an SVG."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from arcweb.backups.physical.timeline import Picture

WIDTH, MARGIN = 960.0, 12.0
#: A span of a second is still to be seen.
NARROWEST = 3.0
#: How near two marks of times may come, in units of the drawing.
APART = 230.0


@dataclass(frozen=True)
class Bar:
    """x, width: of one span, in units of a drawing that is WIDTH wide."""

    x: float
    width: float
    begin: datetime
    end: datetime


@dataclass(frozen=True)
class Mark:
    """A base backup. kind: "base" or "incremental"."""

    x: float
    at: datetime
    kind: str
    proven: bool
    file: str


@dataclass(frozen=True)
class Drawing:
    bars: list[Bar]
    marks: list[Mark]
    ticks: list[tuple[float, datetime]]
    text: str  #: the same in words


def draw(picture: Picture) -> Drawing | None:
    """None when nothing can be recovered."""
    first, last = picture.first, picture.last
    if first is None or last is None:
        return None
    span = max((last - first).total_seconds(), 1.0)

    def x(moment: datetime) -> float:
        return round(MARGIN + (moment - first).total_seconds() / span * (WIDTH - 2 * MARGIN), 1)

    bars = [
        Bar(x(begin), max(round(x(end) - x(begin), 1), NARROWEST), begin, end)
        for begin, end in picture.spans()
    ]
    marks = [
        Mark(x(one.point.at), one.point.at, one.point.format, one.point.proven, one.point.file)
        for one in picture.stretches
    ]
    steps = int((WIDTH - 2 * MARGIN) // APART)
    ticks = [
        (x(first + timedelta(seconds=span * step / steps)), first + timedelta(seconds=span * step / steps))
        for step in range(steps + 1)
    ]
    return Drawing(bars, marks, ticks, _words(picture.spans(), len(marks)))


def _words(spans: Sequence[tuple[datetime, datetime]], backups: int) -> str:
    parts = "; ".join(f"{begin:%Y-%m-%d %H:%M:%S} to {end:%Y-%m-%d %H:%M:%S} UTC" for begin, end in spans)
    return f"Recoverable: {parts}. {backups} base backup{'' if backups == 1 else 's'}."
