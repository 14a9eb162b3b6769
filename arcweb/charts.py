"""Charts as SVG geometry, drawn on the server. Pure: imports no Django.

The picture is a box of WIDTH by HEIGHT units that the page stretches; words (axis labels, the summary)
are HTML beside it, so that they stay readable at every width.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from arcweb.panels import Chart

WIDTH, HEIGHT = 100.0, 34.0
#: Units kept free above and below the line, so that its stroke is not cut.
EDGE = 2.0
#: The least range of values that fills the height, as a share of the largest: noise must not look like news.
CALM = 0.02

Points = Sequence[tuple[datetime, float | None]]


@dataclass(frozen=True)
class Drawing:
    """What the template needs. `line` and `area` are path data, "" when there is no point at all."""

    title: str
    summary: str
    line: str
    area: str
    highs: tuple[str, ...]  #: labels of the value axis, top to bottom
    times: tuple[str, ...]  #: labels of the time axis, left to right
    view_box: str = f"0 0 {WIDTH:g} {HEIGHT:g}"

    @property
    def empty(self) -> bool:
        return not self.line


def draw(chart: Chart, *, from_zero: bool = False) -> Drawing:
    """The chart's geometry. A gap in the points is a gap in the line; a point alone is a short stroke.

    The height spans the values, or zero to the largest with `from_zero`.
    """
    values = [value for _, value in chart.points if value is not None]
    low, high = _range(values, from_zero=from_zero)
    start, end = _ends(chart.points)
    length = (end - start).total_seconds() if start and end else 0.0

    def place(moment: datetime, value: float) -> tuple[float, float]:
        x = WIDTH * (moment - start).total_seconds() / length if start and length > 0 else WIDTH / 2
        share = 0.5 if high == low else (value - low) / (high - low)
        return x, HEIGHT - EDGE - share * (HEIGHT - 2 * EDGE)

    runs = [[place(moment, value) for moment, value in run] for run in _runs(chart.points)]
    return Drawing(
        title=chart.title,
        summary=chart.summary or summary(chart.points, chart.unit),
        line=" ".join(_line(run) for run in runs),
        area=" ".join(_area(run) for run in runs if len(run) > 1),
        highs=_highs(high, low, chart.unit) if values else (),
        times=_times(start, end),
    )


def _highs(high: float, low: float, unit: str) -> tuple[str, ...]:
    """The scale's labels, from above; a line that stands still has one, beside it."""
    said = tuple(quantity(value, unit) for value in (high, (high + low) / 2, low))
    return said if said[0] != said[2] else ("", said[1], "")


def summary(points: Points, unit: str = "", period: str = "") -> str:
    """The course in words: "412 now, 380 to 450 in the last hour". period: "in the last hour"."""
    values = [value for _, value in points if value is not None]
    if not values:
        return f"Nothing was measured {period}.".replace(" .", ".")
    last = points[-1][1]
    now = f"{quantity(last, unit)} now" if last is not None else "unknown now"
    low, high = quantity(min(values)), quantity(max(values))
    course = f"steadily {low}" if low == high else f"{low} to {high}"
    return f"{now}, {course} {period}".rstrip()


def ending_now(points: Points, value: float) -> tuple[tuple[datetime, float | None], ...]:
    """The points with what was just measured as the last: the chart agrees with the number beside it."""
    return (*points[:-1], (points[-1][0], value)) if points else ()


def quantity(value: float, unit: str = "") -> str:
    """A number for people: "1,042,318", "99.4 %", "0.25 s"."""
    if abs(value) >= 100 or float(value).is_integer():
        text = f"{value:,.0f}"
    else:
        text = f"{value:.1f}" if abs(value) >= 1 else f"{value:.2g}"
    return f"{text} {counted(value, unit)}".rstrip()


def counted(value: float, unit: str) -> str:
    """A unit as it stands behind its number: "1 message a second", "2 keys looked at", "1 entry"."""
    noun, space, rest = unit.partition(" ")
    if value != 1 or len(noun) < 4 or not noun.endswith("s") or noun.endswith("ss"):
        return unit
    one = f"{noun[:-3]}y" if noun.endswith("ies") else noun[:-1]
    return f"{one}{space}{rest}"


def size(value: float) -> str:
    """Bytes for people: "7.8 GB", "112 MB", in powers of 1,024."""
    number, unit = scaled(value)
    return quantity(number, unit)


def scaled(value: float) -> tuple[float, str]:
    """Bytes as a number below 1,024 and its unit."""
    units = ("B", "kB", "MB", "GB", "TB")
    step = 0 if abs(value) < 1 else min(len(units) - 1, int(math.log(abs(value), 1024)))
    return value / 1024**step, units[step]


def _range(values: Sequence[float], *, from_zero: bool) -> tuple[float, float]:
    if not values:
        return 0.0, 0.0
    low, high = min(values), max(values)
    if from_zero:
        return min(0.0, low), max(high, 0.0)
    missing = CALM * max(abs(low), abs(high)) - (high - low)
    if missing > 0:
        low, high = low - missing / 2, high + missing / 2
    return low, high


def _ends(points: Points) -> tuple[datetime | None, datetime | None]:
    return (points[0][0], points[-1][0]) if points else (None, None)


def _runs(points: Points) -> list[list[tuple[datetime, float]]]:
    """The points between gaps."""
    runs: list[list[tuple[datetime, float]]] = [[]]
    for moment, value in points:
        if value is not None:
            runs[-1].append((moment, value))
        elif runs[-1]:
            runs.append([])
    return [run for run in runs if run]


def _line(run: list[tuple[float, float]]) -> str:
    if len(run) == 1:
        [(x, y)] = run
        run = [(max(0.0, x - 0.6), y), (min(WIDTH, x + 0.6), y)]
    (x, y), *others = run
    return f"M{x:.2f} {y:.2f}" + "".join(f" L{x:.2f} {y:.2f}" for x, y in others)


def _area(run: list[tuple[float, float]]) -> str:
    return f"{_line(run)} L{run[-1][0]:.2f} {HEIGHT:g} L{run[0][0]:.2f} {HEIGHT:g} Z"


def _times(start: datetime | None, end: datetime | None) -> tuple[str, ...]:
    if start is None or end is None or start == end:
        return ()
    days = end - start > timedelta(days=1, hours=1)
    form = "%d %b" if days else "%H:%M"
    return tuple(moment.strftime(form) for moment in (start, start + (end - start) / 2, end))
