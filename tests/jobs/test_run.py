"""One run of a job: claim, heartbeat, every way to end."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, transaction
from django.utils import timezone

from arcweb.events import Actor, current_actor
from arcweb.jobs import heartbeat, ledger
from arcweb.jobs.context import JobContext
from arcweb.jobs.exceptions import ClaimLost, JobCancelled, JobFailed, RetryLater
from arcweb.jobs.models import Job
from tests.jobs.conftest import in_thread, ran
from tests.waiting import until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("broker")]
State = Job.State


def test_success_keeps_result_and_progress(job: Callable[..., Job]) -> None:
    def dig(context: JobContext) -> dict[str, Any]:
        context.progress(1, 4, "digging")
        context.advance(3)
        return {"depth": context.params["depth"], "at": timezone.now()}

    done = ran(job(dig))
    assert done.result
    assert (done.state, done.done, done.total, done.result["depth"]) == (State.SUCCEEDED, 4, 4, 3)
    assert (done.attempts, done.claim, done.last_error, done.message) == (1, None, "", "")
    assert done.started_at
    assert done.finished_at


def test_a_handler_acts_for_whoever_asked(job: Callable[..., Job]) -> None:
    seen: list[Actor] = []
    ran(job(lambda context: seen.append(current_actor()), actor=Actor("user", "3", "ada", "192.0.2.1")))
    assert seen == [Actor("user", "3", "ada")]
    assert current_actor().kind == "system"


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (JobFailed("The spade broke."), "The spade broke."),
        (KeyError("depth"), "KeyError: 'depth'"),
        (ValueError("a\x00b" + "x" * 9000), "ValueError: a\ufffdbxxx"),
    ],
)
def test_an_error_ends_on_the_row_in_words(job: Callable[..., Job], error: Exception, sentence: str) -> None:
    def dig(context: JobContext) -> None:
        context.progress(2, 4)
        raise error

    failed = ran(job(dig))
    assert (failed.state, failed.done, failed.claim) == (State.FAILED, 2, None)
    assert failed.last_error.startswith(sentence)
    assert len(failed.last_error) <= 2000


def test_a_result_that_is_no_json_is_a_failure(job: Callable[..., Job]) -> None:
    failed = ran(job(lambda context: {"hole": object()}))
    assert (failed.state, failed.last_error[:9]) == (State.FAILED, "TypeError")


def test_a_kind_that_this_version_does_not_know_fails_with_a_sentence() -> None:
    failed = ran(Job.objects.create(kind="fly"))
    assert failed.state == State.FAILED
    assert "no handler for jobs of kind 'fly'" in failed.last_error


def test_retry_later_waits_and_gives_up_when_the_attempts_are_used_up(job: Callable[..., Job]) -> None:
    def dig(context: JobContext) -> None:
        raise RetryLater(60, "It rains.")

    first = ran(job(dig))
    assert (first.state, first.attempts, first.last_error, first.sent_at) == (
        State.QUEUED,
        1,
        "It rains.",
        None,
    )
    assert first.next_retry_at is not None
    assert 30 < (first.next_retry_at - timezone.now()).total_seconds() <= 60
    assert "attempt 2 of 2" in first.standing
    assert ran(first).attempts == 1, "not before its time"
    Job.objects.update(next_retry_at=timezone.now())
    last = ran(first)
    assert (last.state, last.last_error) == (State.FAILED, "It rains. Given up after 2 attempts.")


def test_retry_later_does_not_outlive_a_cancel(job: Callable[..., Job]) -> None:
    def dig(context: JobContext) -> None:
        ledger.cancel(context.id)
        raise RetryLater(60, "It rains.")

    assert ran(job(dig)).state == State.CANCELLED


def test_of_two_runs_at_once_one_wins(job: Callable[..., Job]) -> None:
    runs: list[int] = []

    def dig(context: JobContext) -> None:
        runs.append(1)
        time.sleep(0.3)

    queued, start = job(dig), threading.Barrier(4)

    def run() -> None:
        start.wait()
        ledger.run(queued.pk)

    for thread in [in_thread(run) for _ in range(4)]:
        thread.join()
    queued.refresh_from_db()
    assert (len(runs), queued.state, queued.attempts) == (1, State.SUCCEEDED, 1)
    assert ran(queued).attempts == 1, "an ended job is not run again"


def test_a_running_job_is_cancelled_long_before_its_end(job: Callable[..., Job]) -> None:
    cleaned = threading.Event()

    def dig(context: JobContext) -> None:
        try:
            for _ in range(2000):
                context.advance()
                time.sleep(0.05)
        except JobCancelled:
            cleaned.set()
            raise

    queued = job(dig)
    thread = in_thread(lambda: ledger.run(queued.pk))
    until(lambda: Job.objects.filter(pk=queued.pk, state=State.RUNNING).exists())
    assert ledger.cancel(queued.pk)
    until(lambda: Job.objects.filter(pk=queued.pk, state=State.CANCELLED).exists())
    assert cleaned.is_set()
    thread.join()


def test_progress_and_heartbeat_are_seen_while_the_handler_holds_a_transaction(
    job: Callable[..., Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heartbeat, "BEAT", 1.0)
    go_on = threading.Event()

    def dig(context: JobContext) -> None:
        with transaction.atomic():
            Job.objects.filter(kind="nothing").update(message="")
            context.progress(3, 9, "digging")
            go_on.wait(60)

    queued = job(dig)
    thread = in_thread(lambda: ledger.run(queued.pk))
    until(lambda: Job.objects.filter(pk=queued.pk, done=3, total=9, message="digging").exists())
    first = Job.objects.get().heartbeat_at
    until(lambda: Job.objects.get().heartbeat_at != first)
    go_on.set()
    thread.join()
    assert Job.objects.get().state == State.SUCCEEDED


def test_the_rate_is_unknown_at_first_and_then_measured(
    job: Callable[..., Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    looked, enough = threading.Event(), threading.Event()
    tick = heartbeat.Heartbeat._tick

    def in_turns(own: heartbeat.Heartbeat) -> None:
        """What is written first stays until it was looked at."""
        if Job.objects.filter(done__gt=0).exists():
            looked.wait(60)
        tick(own)

    def dig(context: JobContext) -> None:
        while not enough.wait(0.1):
            context.advance()

    monkeypatch.setattr(heartbeat.Heartbeat, "_tick", in_turns)
    queued = job(dig, total=100_000)
    thread = in_thread(lambda: ledger.run(queued.pk))
    until(lambda: Job.objects.get().done > 0)
    early = Job.objects.get()
    assert (early.rate, early.remaining) == (None, "unknown")
    looked.set()
    measured: list[Job] = []
    until(lambda: measured.extend(Job.objects.filter(rate__isnull=False)) or measured)  # type: ignore[func-returns-value]
    enough.set()
    thread.join()
    assert measured[0].rate is not None
    assert 0 < measured[0].rate < 20  # ten a second, fewer on a busy machine
    assert measured[0].remaining != "unknown"


def test_whoever_lost_the_claim_changes_nothing_more(job: Callable[..., Job]) -> None:
    told: list[type[BaseException]] = []
    new_claim = uuid.uuid4()

    def dig(context: JobContext) -> dict[str, int]:
        context.progress(1, 10, "mine")
        Job.objects.filter(pk=context.id).update(claim=new_claim, done=7, message="of the new holder")
        try:
            context.wait(60)
        except ClaimLost as error:
            told.append(type(error))
        context._stop.clear()  # a handler that does not listen and goes on to its end
        context._lost = False
        return {"depth": 1}

    queued = ran(job(dig))
    assert told == [ClaimLost]
    assert (queued.state, queued.claim, queued.done) == (State.RUNNING, new_claim, 7)
    assert (queued.message, queued.result) == ("of the new holder", None)


def test_a_handler_that_reports_nothing_learns_of_a_lost_claim_before_the_next_heartbeat(
    job: Callable[..., Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heartbeat, "BEAT", 600)
    told: list[float] = []

    def dig(context: JobContext) -> None:
        context.wait(2)  # what was to be written is written
        Job.objects.filter(pk=context.id).update(claim=uuid.uuid4())
        started = time.monotonic()
        try:
            context.wait(60)
        finally:
            told.append(time.monotonic() - started)

    ran(job(dig))
    assert told[0] < 50  # it would wait for 60


@pytest.mark.parametrize(
    "error", [JobFailed("x"), RetryLater(1, "x"), JobCancelled("x"), KeyboardInterrupt()]
)
def test_no_ending_writes_over_a_new_holder(job: Callable[..., Job], error: BaseException) -> None:
    new_claim = uuid.uuid4()

    def dig(context: JobContext) -> None:
        Job.objects.filter(pk=context.id).update(claim=new_claim)
        raise error

    queued = job(dig)
    with suppress(KeyboardInterrupt):
        ledger.run(queued.pk)
    queued.refresh_from_db()
    assert (queued.state, queued.claim, queued.last_error) == (State.RUNNING, new_claim, "")


def test_a_worker_that_is_told_to_stop_gives_the_job_back_with_its_attempt(job: Callable[..., Job]) -> None:
    def dig(context: JobContext) -> None:
        raise SystemExit

    queued = job(dig)
    with pytest.raises(SystemExit):
        ledger.run(queued.pk)
    queued.refresh_from_db()
    assert (queued.state, queued.attempts, queued.claim, queued.sent_at) == (State.QUEUED, 0, None, None)


def test_a_killed_runner_is_replaced(job: Callable[..., Job]) -> None:
    """What the ledger looks like after kill -9: running, claimed, silent. Twice: then it is interrupted."""
    queued = job(lambda context: {"fine": True})
    for attempt, expected in ((1, State.QUEUED), (2, State.INTERRUPTED)):
        assert Job.objects.filter(state=State.QUEUED).update(
            state=State.RUNNING,
            claim=uuid.uuid4(),
            attempts=attempt,
            heartbeat_at=timezone.now() - timedelta(seconds=40),
        )
        ledger.reconcile()
        assert Job.objects.get().state == expected
    assert ledger.retry(queued.pk)
    assert ran(queued).state == State.SUCCEEDED


def test_run_refuses_to_hide_its_claim_in_a_transaction(job: Callable[..., Job]) -> None:
    queued = job(lambda context: None)
    with pytest.raises(RuntimeError, match="durable"), transaction.atomic():
        ledger.run(queued.pk)


def test_the_heartbeat_outlives_a_lost_connection(
    job: Callable[..., Job], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(heartbeat, "TICK", 0.1)
    monkeypatch.setattr(heartbeat, "BEAT", 0.1)
    go_on = threading.Event()

    def dig(context: JobContext) -> None:
        go_on.wait(60)

    queued = job(dig)
    thread = in_thread(lambda: ledger.run(queued.pk))
    until(lambda: Job.objects.filter(state=State.RUNNING).exists())
    first = Job.objects.get().heartbeat_at
    until(lambda: Job.objects.get().heartbeat_at != first)
    with connection.cursor() as cursor:  # every other connection to this database
        cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid() "
            "AND backend_type = 'client backend'"
        )
    until(lambda: "is tried on" in caplog.text)
    before = Job.objects.get().heartbeat_at
    until(lambda: Job.objects.get().heartbeat_at != before)
    go_on.set()
    thread.join()
    assert Job.objects.get().state == State.SUCCEEDED
