"""Deletion by pattern: counted first, confirmed by the number, done by a job, and what stops it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from html import unescape
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone
from redis import Redis
from redis import exceptions as redis_errors

from arcweb.events.models import Event
from arcweb.jobs import ledger
from arcweb.jobs.exceptions import JobCancelled
from arcweb.jobs.models import Job
from cache_admin.keys import mass, scan
from tests.people import client_of

pytestmark = pytest.mark.django_db(transaction=True)
PAGE = "/redis/keys/delete/?role=state"


@pytest.fixture(autouse=True)
def no_messages(state: Redis) -> Iterator[None]:
    """What the ledger sends to the broker while a test runs is not there for the next."""
    yield
    state.flushdb()


def run(job: Job) -> Job:
    ledger.run(job.pk)
    job.refresh_from_db()
    return job


def text(answer: Any) -> str:
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", answer.content.decode())))


def counted(client: Client, pattern: str) -> Job:
    """The ended count that the form asks for."""
    answer = client.post(PAGE, {"do": "count", "pattern": pattern})
    assert answer.status_code == 302
    assert "Counting" in text(client.get(answer.headers["Location"]))
    job = run(Job.objects.get(kind="redis.count_keys"))
    assert job.state == Job.State.SUCCEEDED, job.last_error
    return job


def test_a_pattern_is_counted_confirmed_and_deleted(state: Redis) -> None:
    state.mset({f"user:{number}": "x" * 100 for number in range(1234)})
    state.set("kept", 1)
    client = client_of("operator")
    count = counted(client, "user:*")
    assert count.result
    assert count.result["keys"] == 1234
    assert 100 * 1234 < count.result["bytes"] < 1000 * 1234
    page = text(client.get(f"{PAGE}&count={count.pk}"))
    assert "1,234 keys of the state role match user:*" in page
    wrong = client.post(PAGE, {"do": "delete", "count": str(count.pk), "typed": "1233"}, follow=True)
    assert "Nothing was deleted: to confirm, type 1234" in text(wrong)
    assert not Job.objects.filter(kind="redis.delete_keys").exists()
    asked = client.post(PAGE, {"do": "delete", "count": str(count.pk), "typed": "1,234"})
    event = Event.objects.get(kind="redis.keys_delete")
    assert event.data == {"role": "state", "keys": 1234}
    deletion = Job.objects.get(kind="redis.delete_keys")
    assert state.exists("user:1")  # the event is there before the effect
    assert run(deletion).result == {"deleted": 1234}
    assert "This deletion has ended" in text(client.get(asked.headers["Location"]))
    assert state.exists("kept")
    assert not list(state.scan_iter("user:*"))


def test_a_key_that_scan_brings_twice_is_counted_once(state: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    """As it may while the server resizes its table, which no test can bring about at will."""
    state.mset({f"user:{number}": "x" for number in range(500)})

    def twice(client: Redis, filters: scan.Filters) -> Iterator[tuple[int, list[bytes]]]:
        for cursor, found in scan.batches(client, filters):
            yield cursor, found
            yield cursor, found[:7]

    monkeypatch.setattr(mass, "batches", twice)
    assert mass.count(state, b"user:*", lambda *_: None, lambda _: None).keys == 500


def test_what_would_be_lost_is_said(state: Redis) -> None:
    state.set("session:abc123", "{}")
    state.set("lock:resource", "worker-1")
    state.rpush("arcweb:celery:celery", "message")
    client = client_of("operator")
    page = text(client.get(f"{PAGE}&count={counted(client, '*').pk}"))
    assert "That is every key of the database" in page
    assert "session" in page
    assert "abc123" not in page
    assert "1 lock" in page


def test_a_pattern_without_fixed_letters_is_warned_of(state: Redis) -> None:
    state.set("something", 1)
    client = client_of("operator")
    page = text(client.get(f"{PAGE}&count={counted(client, '*thing').pk}"))
    assert "begins with no fixed letters" in page


def test_patterns_cannot_spell_a_session(state: Redis) -> None:
    state.set("session:abc123", "{}")
    client = client_of("operator")
    assert client.post(PAGE, {"do": "count", "pattern": "session:abc123"}).status_code == 400
    assert counted(client, "session:????2*").result["keys"] == 0  # type: ignore[index]


@pytest.mark.parametrize("pattern", ["", "x" * 1001])
def test_no_pattern_is_no_pattern_for_all(state: Redis, pattern: str) -> None:
    assert client_of("operator").post(PAGE, {"do": "count", "pattern": pattern}).status_code == 400


def test_an_old_count_confirms_nothing(state: Redis) -> None:
    state.set("a", 1)
    client = client_of("operator")
    count = counted(client, "a*")
    Job.objects.update(finished_at=timezone.now() - timedelta(minutes=11))
    answer = client.post(PAGE, {"do": "delete", "count": str(count.pk), "typed": "1"}, follow=True)
    assert "too old" in text(answer)
    assert not Job.objects.filter(kind="redis.delete_keys").exists()


def test_a_count_of_the_other_role_confirms_nothing(state: Redis) -> None:
    state.set("a", 1)
    client = client_of("operator")
    count = counted(client, "a*")
    other = {"do": "delete", "count": str(count.pk), "typed": "1"}
    assert client.post("/redis/keys/delete/?role=cache", other).status_code == 404
    assert client.post(PAGE, other | {"count": "x"}).status_code == 404


def test_deletion_stops_at_many_more_keys_than_were_confirmed(state: Redis) -> None:
    state.mset({f"user:{number}": 1 for number in range(2000)})
    job = ledger.enqueue(
        "redis.delete_keys",
        target="user:*",
        params={"role": "state", "pattern": "user:*", "confirmed": 1000},
    )
    assert run(job).state == Job.State.FAILED
    assert "more keys match than were confirmed" in job.last_error
    assert 700 <= state.dbsize() <= 1200


def confirmed_deletion(confirmed: int) -> Job:
    params = {"role": "state", "pattern": "user:*", "confirmed": confirmed}
    return ledger.enqueue("redis.delete_keys", target="user:*", params=params)


def test_more_keys_than_were_confirmed_are_not_pressed_away(state: Redis) -> None:
    """Retry, and a worker that was killed or told to stop, would each count from nothing again."""
    state.mset({f"user:{number}": 1 for number in range(2000)})
    job = run(confirmed_deletion(1000))
    assert "more keys match than were confirmed" in job.last_error
    left = state.dbsize()
    assert left >= 700
    assert ledger.retry(job.pk)
    assert run(job).state == Job.State.FAILED
    assert "What it left was not confirmed: count it again." in job.last_error
    # As the worker's end leaves it: queued, with the attempt taken back.
    Job.objects.update(state=Job.State.QUEUED, attempts=0, finished_at=None)
    assert "What it left was not confirmed" in run(job).last_error
    assert state.dbsize() == left


def test_a_confirmation_does_not_keep(state: Redis) -> None:
    state.set("user:1", 1)
    job = confirmed_deletion(1)
    assert ledger.cancel(job.pk)
    Job.objects.update(created_at=timezone.now() - timedelta(minutes=11))
    assert ledger.retry(job.pk)
    assert run(job).state == Job.State.FAILED
    assert "confirmed more than 10 minutes ago" in job.last_error
    assert state.exists("user:1")


def test_a_deletion_that_could_not_begin_is_begun_later(state: Redis, settings: Any) -> None:
    state.set("user:1", 1)
    job, here = confirmed_deletion(1), settings.REDIS_STATE_URL
    settings.REDIS_STATE_URL = "redis://127.0.0.1:1/0"
    assert run(job).state == Job.State.QUEUED
    settings.REDIS_STATE_URL = here
    Job.objects.update(next_retry_at=None)
    assert run(job).result == {"deleted": 1}


def test_a_deletion_whose_server_goes_away_says_what_to_do(
    state: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between two of its chunks, which no test can time."""
    state.set("user:1", 1)

    def gone(*_: Any) -> Iterator[int]:
        raise redis_errors.ConnectionError("Connection closed by server.")

    monkeypatch.setattr(mass, "_deleted", gone)
    job = run(confirmed_deletion(1))
    assert job.state == Job.State.FAILED
    assert "Count again what is left" in job.last_error


def test_a_cancelled_deletion_stops_within_a_chunk(state: Redis) -> None:
    state.mset({f"user:{number}": 1 for number in range(5000)})

    def stop(done: int, total: int, message: str) -> None:
        if done > 1000:
            raise JobCancelled

    with pytest.raises(JobCancelled):
        mass.delete(state, b"*", 5000, stop, lambda seconds: None)
    assert 3000 < state.dbsize() < 4500


def test_one_deletion_a_role_at_a_time(state: Redis) -> None:
    state.mset({"one:a": 1, "b": 2})
    client = client_of("operator")
    count = counted(client, "one:*")
    ledger.enqueue(
        "redis.delete_keys",
        target="b",
        params={"role": "state", "pattern": "b", "confirmed": 1},
        unique_key="redis.delete_keys:state",
    )
    answer = client.post(PAGE, {"do": "delete", "count": str(count.pk), "typed": "1"}, follow=True)
    assert "another deletion is under way" in text(answer)
    assert not Event.objects.filter(kind="redis.keys_delete").exists()


def test_a_count_is_exact_while_the_table_grows(state: Redis) -> None:
    """SCAN brings keys twice while the server resizes; each is counted once."""
    state.mset({f"user:{number}": 1 for number in range(3000)})
    added = 0

    def grow(done: int, total: int, message: str) -> None:
        nonlocal added
        if added >= 20_000:
            return
        state.mset({f"other:{added + number}": 1 for number in range(2000)})
        added += 2000

    assert mass.count(state, b"user:*", grow, lambda seconds: None).keys == 3000


def test_a_server_that_is_away_is_tried_again(state: Redis, settings: Any) -> None:
    job = ledger.enqueue("redis.count_keys", target="*", params={"role": "state", "pattern": "*"})
    settings.REDIS_STATE_URL = "redis://127.0.0.1:1/0"
    run(job)
    assert job.state == Job.State.QUEUED
    assert "cannot be reached" in job.last_error
