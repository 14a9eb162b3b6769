"""Old jobs leave the ledger; nothing else does."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from arcweb.celery import app
from arcweb.jobs import ledger, tasks
from arcweb.jobs.models import Job

pytestmark = pytest.mark.django_db
State = Job.State


def make(state: State, *, ended_days_ago: float | None) -> Job:
    now = timezone.now()
    return Job.objects.create(
        kind="dig",
        state=state,
        created_at=now - timedelta(days=400),
        finished_at=None if ended_days_ago is None else now - timedelta(days=ended_days_ago),
    )


def test_jobs_that_ended_more_than_30_days_ago_are_deleted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "DELETE_AT_ONCE", 2)
    for state in (State.SUCCEEDED, State.FAILED, State.CANCELLED, State.INTERRUPTED, State.SUCCEEDED):
        make(state, ended_days_ago=30.1)
    kept = {make(State.FAILED, ended_days_ago=29.9).pk, make(State.QUEUED, ended_days_ago=None).pk}
    assert ledger.forget_old() == 5
    assert set(Job.objects.values_list("pk", flat=True)) == kept
    assert ledger.forget_old() == 0


def test_the_beat_does_it_every_day() -> None:
    make(State.FAILED, ended_days_ago=31)
    [entry] = [
        entry for entry in app.conf.beat_schedule.values() if entry["task"] == tasks.forget_old_jobs.name
    ]
    assert entry["options"]["expires"] <= 86400
    tasks.forget_old_jobs()
    assert not Job.objects.exists()
