"""The geometry of charts, and their words."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from arcweb import charts
from arcweb.panels import Chart

START = datetime(2026, 11, 23, 12, tzinfo=UTC)
NUMBERS = st.floats(min_value=-1e12, max_value=1e12, allow_nan=False)


def course(values: list[float | None]) -> tuple[tuple[datetime, float | None], ...]:
    return tuple((START + timedelta(minutes=place), value) for place, value in enumerate(values))


def points(path: str) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in re.findall(r"[ML](-?[\d.]+) (-?[\d.]+)", path)]


@given(st.lists(st.none() | NUMBERS, max_size=40))
def test_every_point_lies_in_the_box_and_time_runs_to_the_right(values: list[float | None]) -> None:
    drawing = charts.draw(Chart("x", course(values)))
    for x, y in points(drawing.line) + points(drawing.area):
        assert 0 <= x <= charts.WIDTH
        assert 0 <= y <= charts.HEIGHT
    xs = [x for x, _ in points(drawing.line)]
    # A point alone is drawn a little to both sides.
    assert all(b >= a - 1.3 for a, b in pairwise(xs))
    assert drawing.empty == all(value is None for value in values)
    assert drawing.summary


@given(st.lists(st.none() | NUMBERS, min_size=1, max_size=40))
def test_a_gap_in_the_values_is_a_gap_in_the_line(values: list[float | None]) -> None:
    runs = len(re.findall("v+", "".join("-" if value is None else "v" for value in values)))
    assert charts.draw(Chart("x", course(values))).line.count("M") == runs


@given(st.lists(NUMBERS, min_size=2, max_size=40))
def test_a_larger_value_is_never_drawn_lower(values: list[float]) -> None:
    ys = [y for _, y in points(charts.draw(Chart("x", course(list(values)))).line)]
    assert len(ys) == len(values)
    for (value, y), (other, z) in pairwise(zip(values, ys, strict=True)):
        assert not (value > other and y > z + 0.01)


def test_the_highest_is_at_the_top_and_the_lowest_at_the_bottom() -> None:
    drawing = charts.draw(Chart("x", course([0, 10, 5])))
    assert drawing.line == "M0.00 32.00 L50.00 2.00 L100.00 17.00"
    assert drawing.area == drawing.line + " L100.00 34 L0.00 34 Z"
    assert drawing.highs == ("10", "5", "0")
    assert drawing.times == ("12:00", "12:01", "12:02")


def test_noise_stays_flat_and_zero_can_be_the_ground() -> None:
    ys = [y for _, y in points(charts.draw(Chart("x", course([1000, 1001, 1000]))).line)]
    assert max(ys) - min(ys) < 3
    assert points(charts.draw(Chart("x", course([5, 10])), from_zero=True).line)[0][1] == 17


def test_a_steady_course_lies_in_the_middle_and_a_lone_point_is_a_stroke() -> None:
    assert {y for _, y in points(charts.draw(Chart("x", course([7, 7]))).line)} == {17}
    assert charts.draw(Chart("x", course([None, 7, None]))).line == "M49.40 17.00 L50.60 17.00"
    assert charts.draw(Chart("x", course([None, 7, None]))).area == ""


def test_days_are_named_by_their_date() -> None:
    days = tuple((START + timedelta(days=day), float(day)) for day in range(3))
    assert charts.draw(Chart("x", days)).times == ("23 Nov", "24 Nov", "25 Nov")


def test_the_course_in_words() -> None:
    hour = "in the last hour"
    assert charts.summary(course([380, 450, 412]), "", hour) == "412 now, 380 to 450 in the last hour"
    assert charts.summary(course([99.4, 99.4]), "%", hour) == "99.4 % now, steadily 99.4 in the last hour"
    assert charts.summary(course([3, None]), "", hour) == "unknown now, steadily 3 in the last hour"
    assert charts.summary((), "", hour) == "Nothing was measured in the last hour."
    assert charts.summary((), "") == "Nothing was measured."


def test_the_last_point_is_what_was_just_measured() -> None:
    assert charts.ending_now(course([1, None]), 5)[-1][1] == 5
    assert charts.ending_now((), 5) == ()


def test_numbers_and_sizes_for_people() -> None:
    assert charts.quantity(1042318) == "1,042,318"
    assert charts.quantity(99.44, "%") == "99.4 %"
    assert charts.quantity(0.0123, "s") == "0.012 s"
    assert charts.size(0) == "0 B"
    assert charts.size(1023) == "1,023 B"
    assert charts.size(256 * 1024**2) == "256 MB"
    assert charts.size(-1536) == "-1.5 kB"
    assert charts.size(5 * 1024**5) == "5,120 TB"


def test_a_number_and_its_unit_agree() -> None:
    said = [charts.quantity(number, "messages") for number in (0, 1, 2)]
    assert said == ["0 messages", "1 message", "2 messages"]
    assert charts.quantity(1, "entries") == "1 entry"
    assert charts.quantity(1, "keys looked at") == "1 key looked at"
    for unit in ("ms", "s", "a second", "B/s", "%", ""):
        assert charts.counted(1, unit) == unit


def test_a_line_that_stands_still_has_one_label() -> None:
    assert charts.draw(Chart("Clients", course([2.0, 2.0]), "clients", "")).highs == ("", "2 clients", "")
