"""What a kind of job asks for when one of its jobs ends as cancelled, on every way there."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import transaction
from django.utils import timezone

from arcweb.events.models import Event
from arcweb.jobs import ledger
from arcweb.jobs.context import JobContext
from arcweb.jobs.exceptions import JobCancelled, RetryLater
from arcweb.jobs.models import Job
from arcweb.jobs.querysets import STALE_AFTER
from tests.jobs.conftest import ran

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("broker")]
State = Job.State


class Cleaner:
    """An on_cancel that keeps what it was called with, and fails on demand."""

    def __init__(self) -> None:
        self.called: list[dict[str, Any]] = []
        self.in_transaction: list[bool] = []
        self.broken = False

    def __call__(self, params: dict[str, Any]) -> None:
        self.called.append(params)
        self.in_transaction.append(transaction.get_connection().in_atomic_block)
        if self.broken:
            raise RuntimeError("the broom is lost")


@pytest.fixture
def cleaner() -> Cleaner:
    return Cleaner()


def lose_worker(job: Job) -> None:
    Job.objects.filter(pk=job.pk).update(
        state=State.RUNNING,
        claim=uuid.uuid4(),
        attempts=1,
        cancel_requested_at=timezone.now(),
        heartbeat_at=timezone.now() - STALE_AFTER - timedelta(seconds=1),
    )


def test_a_job_cancelled_while_it_waits_for_its_retry(job: Callable[..., Job], cleaner: Cleaner) -> None:
    def dig(context: JobContext) -> None:
        raise RetryLater(60, "It rains.")

    waiting = ran(job(dig, {"on_cancel": cleaner}))
    assert cleaner.called == []
    assert ledger.cancel(waiting.pk)
    assert (cleaner.called, cleaner.in_transaction) == ([{"depth": 3}], [True])
    assert not ledger.cancel(waiting.pk)
    assert len(cleaner.called) == 1


def test_a_clean_up_that_fails_undoes_the_cancel(job: Callable[..., Job], cleaner: Cleaner) -> None:
    cleaner.broken = True
    queued = job(lambda context: None, {"on_cancel": cleaner})
    with pytest.raises(RuntimeError):
        ledger.cancel(queued.pk)
    assert Job.objects.get().state == State.QUEUED
    assert not Event.objects.exists()


def test_a_job_that_the_reconciler_ends(job: Callable[..., Job], cleaner: Cleaner) -> None:
    lose_worker(job(lambda context: None, {"on_cancel": cleaner}))
    assert ledger.reconcile().cancelled == 1
    assert (cleaner.called, cleaner.in_transaction) == ([{"depth": 3}], [True])
    assert ledger.reconcile().cancelled == 0
    assert len(cleaner.called) == 1


def test_a_clean_up_that_fails_holds_up_no_other_job(
    job: Callable[..., Job], cleaner: Cleaner, caplog: pytest.LogCaptureFixture
) -> None:
    cleaner.broken = True
    stuck = job(lambda context: None, {"on_cancel": cleaner})
    other = Job.objects.create(kind="fly")
    lose_worker(stuck)
    lose_worker(other)
    assert ledger.reconcile().cancelled == 1
    assert dict(Job.objects.values_list("pk", "state")) == {
        stuck.pk: State.RUNNING,
        other.pk: State.CANCELLED,
    }
    assert "the broom is lost" in caplog.text
    cleaner.broken = False
    assert ledger.reconcile().cancelled == 1


@pytest.mark.parametrize("error", [JobCancelled("x"), RetryLater(60, "It rains.")])
def test_a_job_that_is_cancelled_while_it_runs(
    job: Callable[..., Job], cleaner: Cleaner, error: Exception
) -> None:
    def dig(context: JobContext) -> None:
        ledger.cancel(context.id)
        assert cleaner.called == [], "it still runs"
        raise error

    assert ran(job(dig, {"on_cancel": cleaner})).state == State.CANCELLED
    assert (cleaner.called, cleaner.in_transaction) == ([{"depth": 3}], [True])


def test_nothing_is_cleaned_up_after_a_lost_claim_or_another_end(
    job: Callable[..., Job], cleaner: Cleaner
) -> None:
    def dig(context: JobContext) -> None:
        if context.params["depth"] == 3:
            Job.objects.filter(pk=context.id).update(claim=uuid.uuid4())
            raise JobCancelled("x")

    lost = ran(job(dig, {"on_cancel": cleaner}))
    finished = ran(Job.objects.create(kind="dig", params={"depth": 4}))
    assert (lost.state, finished.state) == (State.RUNNING, State.SUCCEEDED)
    assert cleaner.called == []
