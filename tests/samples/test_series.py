"""What is read from samples: averages with gaps, and the speed of counters."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from django.db import connection

from arcweb.samples import series
from arcweb.samples.models import Sample
from arcweb.samples.slots import SLOT

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("one_moment")]
HOUR = timedelta(hours=1)


@pytest.fixture
def one_moment(db: None) -> None:
    """The database's clock stands still in this transaction: no slot begins in the middle of a test."""
    with connection.cursor() as cursor:
        cursor.execute("CREATE SCHEMA still")
        cursor.execute(
            "CREATE FUNCTION still.statement_timestamp() RETURNS timestamptz LANGUAGE sql STABLE "
            "AS 'SELECT transaction_timestamp()'"
        )
        cursor.execute("SET LOCAL search_path = still, pg_catalog, public")


def present() -> datetime:
    """The newest slot that must be there: the one before while the present one is young."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT date_bin('30 s', statement_timestamp() - %s, 'epoch')", [timedelta(seconds=series.GRACE)]
        )
        moment: datetime = cursor.fetchone()[0]
        return moment


def put(slots_ago: int, late: float = 0, source: str = "pump", **values: float) -> None:
    slot = present() - timedelta(seconds=SLOT * slots_ago)
    Sample.objects.create(source=source, taken_at=slot, read_at=slot + timedelta(seconds=late), values=values)


def numbers(course: series.Course) -> list[float | None]:
    return [None if value is None else round(value, 6) for _, value in course]


def test_a_bucket_holds_the_average_of_its_samples_and_none_where_there_was_none() -> None:
    put(0, level=10)
    put(1, level=20)
    put(2, level=1)
    put(5, level=7)
    put(0, source="other", level=99)
    course = series.series("pump", "level", timedelta(minutes=5), buckets=5)
    assert numbers(course) == [None, None, 7, 1, 15]
    assert [b - a for (a, _), (b, _) in pairwise(course)] == [timedelta(minutes=1)] * 4
    assert course[-1][0] + timedelta(minutes=1) == present() + timedelta(seconds=SLOT)


def test_no_bucket_is_shorter_than_a_slot() -> None:
    for ago in range(10):
        put(ago, level=ago)
    course = series.series("pump", "level", timedelta(minutes=5), buckets=600)
    assert numbers(course) == [9, 8, 7, 6, 5, 4, 3, 2, 1, 0]


def test_an_unknown_source_or_name_is_all_gaps() -> None:
    put(0, level=1)
    assert set(numbers(series.series("nobody", "level", HOUR))) == {None}
    assert set(numbers(series.series("pump", "nothing", HOUR))) == {None}
    assert set(numbers(series.rate("pump", "nothing", HOUR))) == {None}
    assert len(series.rate("nobody", "level", HOUR, 60)) == 60


def test_a_rate_is_the_growth_per_second_of_real_time() -> None:
    put(3, turns=1000)
    put(2, turns=1300)
    put(1, late=15, turns=1450 + 300)  # read 45 s after the one before
    put(0, turns=1750)  # and 15 s later nothing had moved
    assert numbers(series.rate("pump", "turns", timedelta(seconds=120), 4)) == [None, 10, 10, 0]


def test_a_counter_that_was_reset_counts_from_nought_and_is_never_negative() -> None:
    put(2, turns=1_000_000)
    put(1, turns=60)
    put(0, turns=90)
    assert numbers(series.rate("pump", "turns", timedelta(seconds=90), 3)) == [None, 2, 1]


def test_a_step_over_missing_samples_has_no_rate() -> None:
    put(5, turns=0)
    put(4, turns=30)
    put(1, turns=3000)
    put(0, turns=3030)
    assert numbers(series.rate("pump", "turns", timedelta(seconds=180), 6)) == [None, 1, None, None, None, 1]


def test_a_wide_bucket_weighs_its_steps_by_their_time() -> None:
    for ago, turns in ((4, 0), (3, 30), (2, 60), (1, 90), (0, 690)):
        put(ago, turns=turns)
    assert numbers(series.rate("pump", "turns", timedelta(minutes=2), 1)) == [690 / 120]


def test_several_names_cost_one_query_however_many_rows(
    django_assert_num_queries: pytest.FixtureRequest,
) -> None:
    for ago in range(120):
        put(ago, hits=100 * (120 - ago), misses=10 * (120 - ago))
    with django_assert_num_queries(1):  # type: ignore[operator]
        courses = series.rates("pump", ["hits", "misses"], HOUR)
    share = numbers(series.share(courses["hits"], courses["misses"]))
    assert share[0] == share[-1] == round(100 / 1.1, 6)


def test_the_share_of_nothing_is_unknown() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    assert series.share(((now, 0.0), (now, None)), ((now, 0.0), (now, 1.0))) == ((now, None), (now, None))


def test_the_newest_of_each_source_with_its_age() -> None:
    put(9, level=1)
    put(8, level=2)
    put(100, source="slow", level=3)
    readings = series.newest(["pump", "slow", "nobody"])
    assert set(readings) == {"pump", "slow"}
    assert readings["pump"].values == {"level": 2}
    assert 8 * SLOT <= readings["pump"].age <= 10 * SLOT
    assert readings["pump"].stale
    put(0, level=4)
    assert not series.newest(["pump"])["pump"].stale


def test_a_reading_from_before_and_the_first_since() -> None:
    for ago in range(6):
        put(ago, level=ago)
    minute_ago = present() - timedelta(minutes=1)
    before = series.last_before("pump", minute_ago, timedelta(minutes=5))
    first = series.first_since("pump", minute_ago)
    assert before is not None
    assert first is not None
    assert before.values == first.values == {"level": 2}
    assert series.last_before("pump", present() - HOUR, timedelta(minutes=5)) is None
    assert series.first_since("pump", present() + HOUR) is None


def test_values_stand_in_the_row_as_plain_numbers() -> None:
    put(0, level=1, share=0.5)
    with connection.cursor() as cursor:
        cursor.execute('SELECT "values" FROM samples_sample')
        assert json.loads(cursor.fetchone()[0]) == {"level": 1, "share": 0.5}
