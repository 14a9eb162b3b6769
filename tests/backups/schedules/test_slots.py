"""Cron's fields in UTC: every slot once, in summer time and out of it, and missed ones made up for once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arcweb.backups.schedules import slots
from arcweb.backups.schedules.views import local

ZONES = ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe"]  # the last moves by half an hour
MOMENTS = st.integers(0, 4_000_000_000).map(lambda seconds: datetime.fromtimestamp(1e9 + seconds / 4, UTC))
CRONS = st.sampled_from(
    ["15 2 * * *", "*/5 * * * *", "0 */6 * * *", "0 4 * * 0", "30 3 1 * *", "0 0 29 2 *", "7 1,13 * 1-6 1-5"]
)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("cron", "moment", "following"),
    [
        ("15 2 * * *", "2026-11-23 07:00", ["2026-11-24 02:15", "2026-11-25 02:15", "2026-11-26 02:15"]),
        ("0 */6 * * *", "2026-11-23 07:00", ["2026-11-23 12:00", "2026-11-23 18:00", "2026-11-24 00:00"]),
        ("0 4 * * 0", "2026-11-23 07:00", ["2026-11-29 04:00", "2026-12-06 04:00", "2026-12-13 04:00"]),
        ("0 0 31 * *", "2026-11-23 07:00", ["2026-12-31 00:00", "2027-01-31 00:00", "2027-03-31 00:00"]),
        ("0 0 29 2 *", "2026-11-23 07:00", ["2028-02-29 00:00", "2032-02-29 00:00"]),
        ("0 0 13 * 5", "2026-11-23 07:00", ["2027-08-13 00:00", "2028-10-13 00:00", "2029-04-13 00:00"]),
    ],
)
def test_the_next_runs(cron: str, moment: str, following: list[str]) -> None:
    assert slots.upcoming(slots.parse(cron), at(moment), 3)[: len(following)] == [
        at(one) for one in following
    ]


def test_a_moment_may_be_said_in_any_zone() -> None:
    cron, moment = slots.parse("45 23 * * *"), datetime(2026, 11, 24, 0, 30, tzinfo=ZoneInfo("Europe/Berlin"))
    assert next(cron.after(moment)) == at("2026-11-23 23:45")
    assert cron.last(moment + timedelta(minutes=20)) == at("2026-11-23 23:45")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "15 2 * *",
        "61 2 * * *",
        "15 25 * * *",
        "a b c d e",
        "0 0 31 2 *",
        "0 0 29 2 1",  # not within eight years
        "15 2 * * * *",
        "*/0 * * * *",
        "15 2 * * " + ",".join("0123456" * 5),
    ],
)
def test_what_is_no_time_is_refused_in_words(text: str) -> None:
    with pytest.raises(slots.BadCron, match=r"fields|read|never|longer"):
        slots.parse(text)


@settings(derandomize=True, max_examples=150, deadline=None)
@given(CRONS, MOMENTS)
def test_last_and_next_meet(text: str, moment: datetime) -> None:
    cron = slots.parse(text)
    last, following = cron.last(moment), next(cron.after(moment))
    assert last is not None
    assert last <= moment < following
    assert next(cron.after(last)) == following
    assert cron.last(following - timedelta(seconds=1)) == last
    assert cron.last(following) == following


@settings(derandomize=True, max_examples=100, deadline=None)
@given(CRONS, MOMENTS, st.lists(st.integers(1, 200_000), max_size=8))
def test_each_slot_runs_once_and_missed_ones_once_together(
    text: str, start: datetime, pauses: list[int]
) -> None:
    cron, moment = slots.parse(text), start
    done = cron.last(start)
    for minutes in pauses:
        before, moment = moment, moment + timedelta(minutes=minutes)
        came = cron.last(moment)
        slot = slots.due(cron, moment, done)
        assert slot == (came if came and came > before else None)
        done = slot or done
        assert slots.due(cron, moment, done) is None


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize(("first", "last"), [("2026-03-01", "2026-04-20"), ("2026-09-20", "2026-11-15")])
def test_summer_time_moves_what_is_shown_and_never_what_runs(zone: str, first: str, last: str) -> None:
    cron, moment, runs = slots.parse("30 1 * * *"), at(first), []
    while moment < at(last):
        moment = next(cron.after(moment))
        runs.append(moment)
    assert {after - before for before, after in pairwise(runs)} == {timedelta(days=1)}
    shown = [local(one, zone) for one in runs]
    assert len(set(shown)) == len(runs)
    assert len({text.split()[1] for text in shown}) == 2, "the hour of the day moves once"
    for one, text in zip(runs, shown, strict=True):
        assert text.startswith(f"{one.astimezone(ZoneInfo(zone)):%Y-%m-%d %H:%M}")
