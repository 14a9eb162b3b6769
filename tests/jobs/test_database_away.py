"""What becomes of a running job when the database goes away under it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import psycopg
import pytest
from django.conf import settings
from django.db import Error, connection, transaction
from django.utils import timezone

from arcweb.jobs import ledger
from arcweb.jobs.context import JobContext
from arcweb.jobs.models import Job
from tests.jobs.conftest import in_thread, ran
from tests.waiting import until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("broker")]
State = Job.State


def lose_the_connection() -> None:
    """As a restart of PostgreSQL does to it: the server ends the backend."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")


def seconds_to_wait(job: Job) -> float:
    assert job.next_retry_at is not None
    return (job.next_retry_at - timezone.now()).total_seconds()


def test_a_lost_connection_puts_the_job_off_in_words(job: Callable[..., Job]) -> None:
    def dig(context: JobContext) -> None:
        context.progress(2, 4, "digging the moat")
        lose_the_connection()

    first = ran(job(dig))
    assert (first.state, first.attempts, first.claim) == (State.QUEUED, 1, None)
    assert first.last_error == "The database went away while digging the moat."
    assert 5 < seconds_to_wait(first) <= 15
    Job.objects.update(next_retry_at=None)
    last = ran(first)
    assert last.state == State.FAILED
    assert last.last_error == "The database went away while digging the moat. Given up after 2 attempts."


def test_a_connection_that_is_closed_inside_a_transaction_is_no_failure(job: Callable[..., Job]) -> None:
    def dig(context: JobContext) -> None:
        with transaction.atomic():
            with suppress(Error):
                lose_the_connection()
            Job.objects.count()

    put_off = ran(job(dig))
    assert (put_off.state, put_off.last_error) == (
        State.QUEUED,
        "The database went away while the job was running.",
    )


def test_the_wait_doubles_with_each_attempt(job: Callable[..., Job]) -> None:
    waits = []
    queued = job(lambda context: lose_the_connection())
    Job.objects.update(max_attempts=4)
    for _ in range(3):
        waits.append(seconds_to_wait(ran(queued)))
        Job.objects.update(next_retry_at=None)
    assert waits == pytest.approx([15, 30, 60], abs=7)


def test_a_deadlock_puts_the_job_off(job: Callable[..., Job]) -> None:
    taken, locked = threading.Event(), threading.Event()

    def lock(number: int) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [number])

    def other_waits() -> bool:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT FROM pg_locks JOIN pg_database d ON d.oid = database "
                "WHERE datname = current_database() AND locktype = 'advisory' AND NOT granted"
            )
            return cursor.fetchone() is not None

    def other() -> None:
        with transaction.atomic():
            lock(2)
            taken.set()
            locked.wait(60)
            lock(1)

    def dig(context: JobContext) -> None:
        with transaction.atomic():
            lock(1)
            taken.wait(60)
            locked.set()
            until(other_waits)
            # The server ends whoever finds the circle: the last to look, after deadlock_timeout (1 s). By
            # then the other has looked, however busy the machine is.
            time.sleep(4)
            lock(2)

    queued = job(dig)
    thread = in_thread(other)
    put_off = ran(queued)
    thread.join()
    assert put_off.state == State.QUEUED
    assert put_off.last_error == (
        "The database undid a change that collided with another one while the job was running."
    )


@pytest.fixture
def gate() -> Iterator[Callable[[bool], None]]:
    """Opens and closes the test's database to new connections; closing ends those that are open."""
    name = connection.settings_dict["NAME"]
    server = settings.DATABASES["default"]
    with psycopg.connect(
        host=server["HOST"],
        port=server["PORT"],
        user=server["USER"],
        password=server["PASSWORD"],
        dbname=settings.POSTGRES_DB,
        autocommit=True,
    ) as outside:

        def allow(yes: bool) -> None:
            outside.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS {str(yes).lower()}'.encode())
            if not yes:
                outside.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE datname = %s AND backend_type = 'client backend'",
                    [name],
                )

        try:
            yield allow
        finally:
            allow(True)


@pytest.mark.parametrize("ending", ["queued", "succeeded"])
def test_the_end_of_a_run_waits_for_the_database(
    job: Callable[..., Job], gate: Callable[[bool], None], ending: str
) -> None:
    def dig(context: JobContext) -> dict[str, Any]:
        gate(False)
        threading.Timer(2, gate, [True]).start()
        if ending == "queued":
            Job.objects.count()
        return {"depth": 3}

    queued = job(dig)
    ledger.run(queued.pk)
    queued.refresh_from_db()
    assert (queued.state, queued.claim) == (ending, None)
    assert queued.result == ({"depth": 3} if ending == "succeeded" else None)
