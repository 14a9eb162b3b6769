"""Enqueue, cancel, retry and reconcile, against the real broker."""

from __future__ import annotations

import threading
import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction
from django.utils import timezone
from redis.connection import Connection

from arcweb.events import Actor
from arcweb.events.models import Event
from arcweb.jobs import dispatch, ledger
from arcweb.jobs.models import Job
from arcweb.jobs.querysets import STALE_AFTER
from tests.jobs.conftest import Broker, Declare

pytestmark = pytest.mark.django_db(transaction=True)
State = Job.State


@pytest.fixture(autouse=True)
def kind(declare: Declare) -> None:
    declare("dig", label="Dig a hole", unit="spades", max_attempts=2)(lambda context: None)


def enqueue(**values: Any) -> Job:
    return ledger.enqueue("dig", target="the garden", params={}, **values)


def running(*, silent: timedelta = timedelta(), **values: Any) -> Job:
    """A job as a worker left it that gave its last sign of life `silent` ago."""
    now = timezone.now()
    values = {"attempts": 1, "max_attempts": 2, **values}
    return Job.objects.create(
        kind="dig",
        state=State.RUNNING,
        claim=uuid.uuid4(),
        started_at=now,
        heartbeat_at=now - silent,
        **values,
    )


def test_a_job_is_a_row_in_the_callers_transaction_and_is_sent_after_it(broker: Broker) -> None:
    with transaction.atomic():
        job = enqueue(total=9, actor=Actor("user", "3", "ada"))
        assert broker.sent() == []
    assert broker.sent() == [str(job.pk)]
    job.refresh_from_db()
    assert (job.state, job.attempts, job.max_attempts, job.unit, job.total) == ("queued", 0, 2, "spades", 9)
    assert (job.actor_kind, job.actor_id, job.actor_name) == ("user", "3", "ada")
    assert job.sent_at is not None
    with transaction.atomic():
        enqueue()
        transaction.set_rollback(True)
    assert broker.sent() == []
    assert Job.objects.count() == 1


def test_a_message_goes_to_the_queue_of_its_kind(broker: Broker, declare: Declare) -> None:
    declare("glance", label="Glance", queue="quick")(lambda context: None)
    slow = enqueue()
    quick = ledger.enqueue("glance", target="the garden", params={})
    assert (broker.sent(), broker.sent("quick")) == ([str(slow.pk)], [str(quick.pk)])
    Job.objects.update(sent_at=None)
    unknown = Job.objects.create(kind="fly", queued_at=timezone.now() + timedelta(seconds=1))
    assert ledger.reconcile().sent == 3
    assert (broker.sent(), broker.sent("quick")) == ([str(slow.pk), str(unknown.pk)], [str(quick.pk)])


def test_a_broker_that_is_away_costs_little_is_logged_once_and_loses_nothing(
    broker: Broker, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries = []
    connect = Connection._connect
    monkeypatch.setattr(Connection, "_connect", lambda own: (tries.append(own), connect(own))[1])
    monkeypatch.setattr(dispatch, "PAUSE", 600)
    broker.away()
    jobs = [enqueue(), enqueue(), enqueue()]
    assert len(tries) == 1
    assert [record.levelname for record in caplog.records if record.name == "arcweb.jobs.dispatch"] == [
        "WARNING"
    ]
    assert set(Job.objects.values_list("state", "sent_at")) == {("queued", None)}
    broker.back()
    assert ledger.reconcile().sent == 3
    assert broker.sent() == [str(job.pk) for job in jobs]


def test_while_a_job_with_the_same_key_is_active_it_is_the_job(broker: Broker) -> None:
    first = enqueue(unique_key="garden")
    with transaction.atomic():
        assert enqueue(unique_key="garden").pk == first.pk
        assert enqueue(unique_key="other").pk != first.pk
    ledger.cancel(first.pk)
    assert enqueue(unique_key="garden").pk != first.pk


def test_a_kind_without_handler_and_an_impossible_row_are_refused(broker: Broker) -> None:
    with pytest.raises(ValueError, match="'fly'"):
        ledger.enqueue("fly", target="", params={})
    with pytest.raises(IntegrityError):
        enqueue(total=-1, unique_key="k")
    for impossible in (
        {"state": "lost"},
        {"state": "running"},
        {"state": "failed"},
        {"attempts": -1},
        {"kind": ""},
    ):
        with pytest.raises(IntegrityError), transaction.atomic():
            Job.objects.create(**{"kind": "dig", **impossible})


def test_every_column_but_the_kind_has_a_default() -> None:
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO jobs_job (kind) VALUES ('dig')")
    assert Job.objects.get().state == State.QUEUED


def test_cancel_ends_a_queued_job_at_once_and_asks_a_running_one(broker: Broker) -> None:
    queued, busy = enqueue(), running()
    assert ledger.cancel(queued.pk)
    assert not ledger.cancel(queued.pk)
    queued.refresh_from_db()
    assert (queued.state, queued.finished_at is not None) == (State.CANCELLED, True)
    assert ledger.cancel(busy.pk)
    assert not ledger.cancel(busy.pk)
    busy.refresh_from_db()
    assert (busy.state, busy.cancel_requested_at is not None) == (State.RUNNING, True)
    assert list(Event.objects.order_by("id").values_list("kind", "object_id")) == [
        ("job.cancelled", str(queued.pk)),
        ("job.cancel_requested", str(busy.pk)),
    ]


@pytest.mark.parametrize("state", [State.FAILED, State.CANCELLED, State.INTERRUPTED])
def test_retry_starts_an_ended_job_with_all_its_attempts(broker: Broker, state: State) -> None:
    now = timezone.now()
    job = Job.objects.create(
        kind="dig",
        state=state,
        attempts=2,
        finished_at=now,
        cancel_requested_at=now,
        last_error="Rain.",
        done=5,
    )
    assert ledger.retry(job.pk)
    assert not ledger.retry(job.pk)
    job.refresh_from_db()
    assert (job.state, job.attempts, job.done, job.cancel_requested_at) == (State.QUEUED, 0, 0, None)
    assert broker.sent() == [str(job.pk)]
    assert Event.objects.get().kind == "job.retried"


def test_retry_leaves_alone_what_succeeded_or_is_under_way_under_the_same_key(broker: Broker) -> None:
    now = timezone.now()
    succeeded = Job.objects.create(kind="dig", state=State.SUCCEEDED, finished_at=now)
    failed = Job.objects.create(kind="dig", state=State.FAILED, finished_at=now, unique_key="garden")
    enqueue(unique_key="garden")
    assert not ledger.retry(succeeded.pk)
    assert not ledger.retry(failed.pk)
    assert not Event.objects.exists()


def test_a_job_whose_worker_died_is_queued_again_until_its_attempts_are_used_up(broker: Broker) -> None:
    silent = STALE_AFTER + timedelta(seconds=1)
    fresh, dead = running(silent=STALE_AFTER - timedelta(seconds=5)), running(silent=silent)
    spent, unwanted = (
        running(silent=silent, attempts=2),
        running(silent=silent, cancel_requested_at=timezone.now()),
    )
    assert ledger.reconcile() == (1, 1, 1, 1)
    assert broker.sent() == [str(dead.pk)]
    states = dict(Job.objects.values_list("pk", "state"))
    assert states == {
        fresh.pk: State.RUNNING,
        dead.pk: State.QUEUED,
        spent.pk: State.INTERRUPTED,
        unwanted.pk: State.CANCELLED,
    }
    assert "stopped without a word" in Job.objects.get(pk=spent.pk).last_error
    assert "queued again" in Job.objects.get(pk=dead.pk).last_error


def test_a_lost_message_is_sent_again_and_ever_more_rarely(broker: Broker) -> None:
    now = timezone.now()

    def queued(sent: int | None, waited: int, **values: Any) -> Job:
        sent_at = None if sent is None else now - timedelta(seconds=sent)
        queued_at = now - timedelta(seconds=waited)
        return Job.objects.create(kind="dig", sent_at=sent_at, queued_at=queued_at, **values)

    never, lost = queued(None, 50), queued(31, 31)
    queued(20, 20)  # just sent
    queued(100, 250)  # sent after 150 s: the workers are busy, next after another 150 s
    long_lost = queued(301, 4000)
    queued(None, 5, next_retry_at=now + timedelta(seconds=60))
    due = queued(None, 5, next_retry_at=now - timedelta(seconds=1))
    assert ledger.reconcile().sent == 4
    assert sorted(broker.sent()) == sorted(str(job.pk) for job in (never, lost, long_lost, due))
    assert ledger.reconcile().sent == 0


def test_two_beats_at_once_send_each_job_once(broker: Broker) -> None:
    jobs = [Job.objects.create(kind="dig") for _ in range(30)]
    start = threading.Barrier(3)
    sent: list[int] = []

    def reconcile() -> None:
        start.wait()
        try:
            sent.append(ledger.reconcile().sent)
        finally:
            connection.close()

    threads = [threading.Thread(target=reconcile) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(sent) == len(jobs)
    assert sorted(broker.sent()) == sorted(str(job.pk) for job in jobs)
