"""How long the beat leaves a kind of job alone after one that did not succeed."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from arcweb.jobs.models import Job
from arcweb.jobs.pacing import must_rest, rest_after

pytestmark = pytest.mark.django_db
State = Job.State
FAILED, CANCELLED, SUCCEEDED = State.FAILED, State.CANCELLED, State.SUCCEEDED


def ended(state: State, seconds_ago: float, **values: Any) -> Job:
    at = timezone.now() - timedelta(seconds=seconds_ago)
    return Job.objects.create(**{"kind": "dig", "state": state, "finished_at": at, **values})


@pytest.mark.parametrize(
    ("states", "seconds"),
    [
        ([], 0),
        ([SUCCEEDED, FAILED, CANCELLED], 0),
        ([FAILED, SUCCEEDED, FAILED], 30),
        ([State.INTERRUPTED], 30),
        ([FAILED, FAILED, FAILED], 120),
        ([FAILED] * 5, 480),
        ([FAILED] * 6, 600),
        ([FAILED] * 60, 600),
        ([CANCELLED], 600),
        ([FAILED, CANCELLED, FAILED], 30),
    ],
)
def test_the_rest_doubles_with_failures_in_a_row(states: list[str], seconds: int) -> None:
    assert rest_after(states) == timedelta(seconds=seconds)


def test_a_rest_is_over_when_its_time_is() -> None:
    assert not must_rest("dig")
    ended(FAILED, 10)
    assert must_rest("dig")
    assert not must_rest("fly")
    Job.objects.update(finished_at=timezone.now() - timedelta(seconds=31))
    assert not must_rest("dig")


def test_the_last_end_counts_not_the_last_beginning() -> None:
    ended(CANCELLED, 500, created_at=timezone.now() - timedelta(days=1))
    ended(SUCCEEDED, 700, created_at=timezone.now() - timedelta(minutes=12))
    assert must_rest("dig")
    ended(SUCCEEDED, 5)
    assert not must_rest("dig")


def test_a_job_that_was_retried_is_no_longer_at_an_end() -> None:
    ended(CANCELLED, 5)
    Job.objects.update(state=State.QUEUED, finished_at=None)
    assert not must_rest("dig")


def test_many_failures_are_read_in_one_short_query(django_assert_num_queries: Any) -> None:
    for number in range(40):
        ended(FAILED, 500 + number)
    with django_assert_num_queries(1) as captured:
        assert must_rest("dig")
    assert "LIMIT" in captured[0]["sql"]
