"""The pure helpers behind rate and remaining time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arcweb.jobs.progress import WINDOW, RateMeter, duration, percent, remaining_seconds


def test_the_rate_is_unknown_until_there_is_enough_to_tell() -> None:
    meter = RateMeter()
    assert [meter.sample(t, 10 * t) for t in (0, 1, 2)] == [None, None, None]
    assert meter.sample(3, 30) == 10


def test_the_rate_is_that_of_the_last_seconds_and_falls_in_a_stall() -> None:
    meter = RateMeter()
    for t in range(100):
        meter.sample(t, t)
    for t in range(100, 140):
        rate = meter.sample(t, 99 + 5 * (t - 99))
    assert rate == pytest.approx(5)
    done = 99 + 5 * 40
    rates = [meter.sample(140 + t, done) or 0.0 for t in range(int(WINDOW) + 2)]
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] == 0


def test_progress_that_went_back_starts_anew() -> None:
    meter = RateMeter()
    for t in range(10):
        meter.sample(t, 100 + t)
    assert meter.sample(10, 0) is None
    assert meter.sample(14, 8) == 2


@given(st.lists(st.tuples(st.floats(0, 5), st.integers(0, 1000)), max_size=80))
def test_the_rate_is_never_negative(steps: list[tuple[float, int]]) -> None:
    meter, now, done = RateMeter(), 0.0, 0
    for seconds, units in steps:
        now, done = now + seconds, done + units
        rate = meter.sample(now, done)
        assert rate is None or rate >= 0


def test_remaining_is_honest_about_what_it_cannot_know() -> None:
    assert remaining_seconds(10, 30, 2) == 10
    assert remaining_seconds(30, 30, 2) == 0
    assert remaining_seconds(31, 30, 2) == 0
    assert remaining_seconds(10, None, 2) is None
    assert remaining_seconds(10, 30, None) is None
    assert remaining_seconds(10, 30, 0.0) is None


def test_percent_says_100_only_when_done() -> None:
    assert [percent(999, 1000), percent(1000, 1000), percent(1001, 1000)] == [99, 100, 100]
    assert [percent(5, None), percent(0, 0)] == [None, None]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "unknown"), (0, "0 s"), (59.4, "59 s"), (60, "1 min"), (200, "3 min 20 s"), (7500, "2 h 5 min"),
     (86400 * 3 + 4 * 3600 + 59, "3 d 4 h"), (-3, "0 s")],
)  # fmt: skip
def test_durations_read_like_people_say_them(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text
