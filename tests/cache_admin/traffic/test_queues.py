"""The page Queues: what waits is shown without its arguments, and can be dropped without losing a job."""

from __future__ import annotations

import base64
import json
import re
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone
from redis import Redis

from arcweb.celery import app
from arcweb.events.models import Event
from arcweb.jobs import ledger
from arcweb.jobs.models import Job
from arcweb.jobs.tasks import reconcile, run_job
from cache_admin.traffic import queues, tally
from tests.cache_admin.keys.test_pages import text
from tests.people import client_of

pytestmark = pytest.mark.django_db
PAGE = "/redis/queues/"
ID = "0f8fad5b-d9cb-469f-a165-70867728950e"


@pytest.fixture(autouse=True)
def _empty(state: Redis) -> Iterator[None]:
    def sweep() -> None:
        for queue in queues.names():
            queues.purge(state, queue)
        state.delete("arcweb:celery:unacked", "arcweb:celery:unacked_index")

    sweep()
    yield
    sweep()


def send(*args: Any, **options: Any) -> None:
    app.send_task("test.task", args=args, kwargs=options.pop("kwargs", {}), retry=False, **options)


def test_what_waits_is_shown_masked_oldest_first(state: Redis) -> None:
    run_job.apply_async(args=[ID], queue="celery", retry=False)
    send(
        "a secret",
        42,
        None,
        {"a": 1},
        [1, 2],
        1.5,
        kwargs={"password": "hunter2"},
        queue="celery",
        expires=60,
    )
    first, second = queues.peek(state, "celery")
    assert (first.task, first.arguments[0].shown) == ("arcweb.jobs.tasks.run_job", ID)
    assert first.age is not None
    assert 0 <= first.age < 60
    assert [argument.shown for argument in second.arguments] == [
        "text, 8 characters",
        "42",
        "null",
        "an object, 1 element",
        "a list, 2 elements",
        "a number with decimals",
        "text, 7 characters",
    ]
    assert second.expires is not None
    said = client_of("viewer").get(PAGE).content.decode()
    assert "2 waiting" in said
    assert ID in said
    assert "password: " in said
    assert "hunter2" not in said
    assert "a secret" not in said
    assert queues.length(state, "celery") == 2  # nothing was taken


def test_messages_that_are_none(state: Redis) -> None:
    for raw in (b"<b>rubbish</b>", b"[]", b'{"headers": {}, "body": 3}', b"x" * 70_000, b"[" * 60_000):
        state.lpush("arcweb:celery:quick", raw)
    said = client_of("viewer").get(PAGE).content.decode()
    assert said.count("Not a message of Celery") == 4
    assert "Larger than 64 kB: not looked into" in said
    assert "rubbish" not in said


@pytest.mark.parametrize(
    "headers",
    [
        '{"task": "\\ud800", "origin": "\\udfff"}',
        '{"task": "t", "retries": 1e999}',
        '{"task": "t", "arcweb_sent_at": 1%s}' % ("0" * 400),
        '{"task": "t", "eta": "0001-01-01T00:00:00+23:00", "expires": "9999-12-31T23:59:59-23:00"}',
    ],
)
def test_a_strange_message_does_not_hide_the_page(state: Redis, headers: str) -> None:
    named = base64.b64encode(b'[[], {"\\ud800": 1}, {}]').decode()
    state.rpush("arcweb:celery:celery", f'{{"body": "{named}", "headers": {headers}, "properties": {{}}}}')
    state.hset(tally.KEY, "done:celery", "many")
    try:
        page = client_of("viewer").get(PAGE)
    finally:
        state.hdel(tally.KEY, "done:celery")
    assert page.status_code == 200
    assert queues.length(state, "celery") == 1


def test_an_old_message_is_news_and_an_expired_one_is_told(state: Redis) -> None:
    send(queue="quick", expires=timezone.now() - timedelta(minutes=5))
    raw = json.loads(state.lindex("arcweb:celery:quick", 0) or b"")
    raw["headers"]["arcweb_sent_at"] = time.time() - 300
    state.lset("arcweb:celery:quick", 0, json.dumps(raw))
    said = client_of("viewer").get(PAGE).content.decode()
    assert "for more than a minute" in said
    assert "expired: dropped when taken" in said


def test_what_workers_hold_is_counted_by_queue(state: Redis) -> None:
    state.hset("arcweb:celery:unacked", "tag", json.dumps([{}, "", "quick"]))
    state.zadd("arcweb:celery:unacked_index", {"tag": time.time() - 30})
    held = queues.held(state)
    assert (held.total, held.by_queue) == (1, {"quick": 1})
    assert held.oldest is not None
    assert 28 < held.oldest < 90


def test_messages_of_each_priority_count(state: Redis) -> None:
    send(queue="celery", priority=6)
    assert queues.length(state, "celery") == 1
    assert len(queues.peek(state, "celery")) == 1


def test_a_queue_is_emptied_by_its_typed_name_and_the_ledger_sends_its_jobs_again(state: Redis) -> None:
    job = Job.objects.create(kind="walk", target="somewhere", sent_at=timezone.now())
    run_job.apply_async(args=[str(job.pk)], queue="celery", retry=False)
    send(queue="quick")
    operator = client_of("operator")
    address = f"{PAGE}celery/purge/?role=state"
    assert client_of("viewer").post(address, {"typed": "celery"}).status_code == 403
    assert "dropped: 1" in operator.get(address).content.decode()
    operator.post(address, {"typed": "quick"})
    assert queues.length(state, "celery") == 1
    operator.post(address, {"typed": "celery"})
    assert (queues.length(state, "celery"), queues.length(state, "quick")) == (0, 1)
    assert Event.objects.get(kind="redis.queue_purged").data == {"role": "state", "messages": 1}
    Job.objects.filter(pk=job.pk).update(
        queued_at=timezone.now() - timedelta(hours=2), sent_at=timezone.now() - timedelta(hours=2)
    )
    ledger.reconcile()
    assert [message.arguments[0].shown for message in queues.peek(state, "celery")] == [str(job.pk)]


def test_where_there_are_no_queues() -> None:
    operator = client_of("operator")
    assert "in the state role" in operator.get(PAGE, {"role": "cache"}).content.decode()
    assert operator.get(f"{PAGE}nobody/purge/?role=state").status_code == 404
    assert operator.post(f"{PAGE}celery/purge/?role=cache", {"typed": "celery"}).status_code == 400


@pytest.mark.parametrize(
    ("key", "spoil", "kind", "wanted", "queue", "other"),
    [
        ("quick", "SET {} text", "a string", "a list", "quick", "celery"),
        ("celery\x06\x163", "SADD {} member", "a set", "a list", "celery", "quick"),
        ("unacked", "SET {} text", "a string", "a hash", "", "quick"),
        ("unacked_index", "RPUSH {} one", "a list", "a sorted set", "", "quick"),
    ],
)
def test_a_key_of_another_type_is_named_and_the_others_are_shown(
    state: Redis, key: str, spoil: str, kind: str, wanted: str, queue: str, other: str
) -> None:
    browser, key = client_of("operator"), f"arcweb:celery:{key}"
    name = key.replace("\x06\x16", r"\x06\x16")
    purge = f"{PAGE}{queue or other}/purge/?role=state"
    send(queue=other)
    state.execute_command(*(key if word == "{}" else word for word in spoil.split()))
    try:
        page, sample, asked = browser.get(PAGE), tally.take(), browser.get(purge)
        emptied = browser.post(purge, {"typed": queue}) if queue else None
    finally:
        state.delete(key)
    said = text(page)
    assert page.status_code == asked.status_code == 200
    follows = f"nothing can be sent to the queue {queue}" if queue else "workers fail when they take a task"
    assert f"The key {name} holds {kind}, where Celery keeps {wanted}: {follows}" in said
    assert "See what it holds, then delete it" in said
    assert re.search(r'<a class="mono" href="/redis/keys/[^"]+">arcweb:celery:', page.content.decode())
    assert "1 waiting" in said
    assert sample[f"waiting:{other}"] == 1
    if emptied is None:  # what workers hold is of no queue
        assert "Held by workers unknown" in text(asked)
        assert f"held:{other}" not in sample
    else:
        assert f"The key {name} holds {kind}" in text(asked)
        assert emptied.status_code == 409
        assert f"waiting:{queue}" not in sample
    assert "Blocked" not in text(browser.get(PAGE))


def test_queries_do_not_grow(state: Redis, django_assert_num_queries: Any) -> None:
    browser = client_of("viewer")
    for number in (10, 1000):
        pipeline = state.pipeline(transaction=False)
        for _ in range(number):
            pipeline.lpush("arcweb:celery:celery", b"{}")
        pipeline.execute()
        with django_assert_num_queries(5):
            browser.get(PAGE)


def test_reconcile_is_what_beat_sends() -> None:
    """The page promises it every ten seconds."""
    [entry] = [entry for entry in app.conf.beat_schedule.values() if entry["task"] == reconcile.name]
    assert entry["schedule"] == 10.0
