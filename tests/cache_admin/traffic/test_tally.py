"""How many messages arrive and are done: counted by the workers, told per minute."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from celery.contrib.testing.worker import start_worker
from django.utils import timezone
from redis import Redis

from arcweb.celery import app
from arcweb.samples.models import Sample
from arcweb.samples.series import Reading
from cache_admin.traffic import queues, tally
from tests.cache_admin.keys.test_pages import text
from tests.people import client_of
from tests.waiting import until

pytestmark = pytest.mark.django_db
PAGE = "/redis/queues/"


@pytest.fixture(autouse=True)
def _empty(state: Redis) -> Iterator[None]:
    def sweep() -> None:
        for queue in queues.names():
            queues.purge(state, queue)
        state.delete(tally.KEY, "arcweb:celery:unacked", "arcweb:celery:unacked_index")

    sweep()
    yield
    sweep()


def reading(minutes: float, **values: float) -> Reading:
    named = {name.replace("_", ":"): value for name, value in values.items()}
    return Reading(datetime.now(UTC) - timedelta(minutes=minutes), 60 * minutes, named)


def test_a_worker_counts_what_it_has_done_and_what_had_expired(state: Redis) -> None:
    @app.task(name="test.nothing")
    def nothing() -> None:
        pass

    @app.task(name="test.failing")
    def failing() -> None:
        raise ValueError("as it should")

    for _ in range(3):
        nothing.apply_async(queue="quick", retry=False)
    failing.apply_async(queue="quick", retry=False)
    past = timezone.now() - timedelta(minutes=1)
    nothing.apply_async(queue="quick", retry=False, expires=past)
    with start_worker(
        app, pool="solo", concurrency=1, queues=["quick"], perform_ping_check=False, loglevel="error"
    ):
        until(lambda: tally.read(state)["done:quick"] == 4 and tally.read(state)["dropped:quick"] == 1)
        until(lambda: queues.held(state).total == 0)
    assert tally.read(state) == {
        "done:celery": 0,
        "dropped:celery": 0,
        "waiting:celery": 0,
        "held:celery": 0,
        "done:quick": 4,
        "dropped:quick": 1,
        "waiting:quick": 0,
        "held:quick": 0,
    }


@pytest.mark.parametrize(
    ("before", "now", "arrived", "done"),
    [
        # done, dropped, waiting, held: before and five minutes later.
        ((0, 0, 0, 0), (50, 0, 0, 0), 10, 10),
        ((0, 0, 0, 0), (10, 0, 35, 5), 10, 2),  # they wait, or are held
        ((0, 0, 90, 10), (100, 0, 0, 0), 0, 20),  # nothing comes, the backlog is worked off
        ((100, 5, 40, 0), (100, 45, 0, 0), 0, 0),  # the queue was emptied
        ((900, 0, 0, 0), (50, 0, 0, 0), 10, 10),  # the counts were lost with the server
    ],
)
def test_what_arrived_follows_from_what_went(
    before: tuple[int, ...], now: tuple[int, ...], arrived: float, done: float
) -> None:
    names = ("done_quick", "dropped_quick", "waiting_quick", "held_quick")
    past = reading(5, **dict(zip(names, before, strict=True)))
    present = reading(0, **dict(zip(names, now, strict=True))).values
    found = tally.rates("quick", past, present)
    assert found is not None
    assert (found.arrived, found.done) == (arrived, done)
    del present["held:quick"]  # more is held than is looked at
    unknown = tally.rates("quick", past, present)
    assert unknown is not None
    assert (unknown.arrived, unknown.done) == (None, done)


def test_the_page_tells_both_and_since_when(state: Redis) -> None:
    client = client_of("operator")
    assert "known when a minute of samples is there" in text(client.get(PAGE))
    moment = timezone.now() - timedelta(minutes=5)
    Sample.objects.create(source=tally.SOURCE, taken_at=moment, read_at=moment, values=tally.read(state))
    tally.count("done", "quick", 30)
    for _ in range(10):
        app.send_task("test.nothing", queue="quick", retry=False)
    said = text(client.get(PAGE))
    # Fewer the longer this takes: by a hundredth in three seconds.
    told = "Arrived (8.0|7.\\d) a minute Done (6.0|5.\\d) a minute"
    assert re.search(f"{told} Over the last 5 min", said), said
    client.post(f"{PAGE}quick/purge/?role=state", {"typed": "quick"})
    said = text(client.get(PAGE))
    assert re.search(f"{told} Dropped (2.0|1.\\d) a minute", said), said


def test_something_else_in_place_of_the_counts_is_told_and_takes_no_page_away(state: Redis) -> None:
    client = client_of("operator")
    moment = timezone.now() - timedelta(minutes=5)
    Sample.objects.create(source=tally.SOURCE, taken_at=moment, read_at=moment, values=tally.read(state))
    state.set(tally.KEY, "not a hash")
    tally.count("done", "quick")
    app.send_task("test.nothing", queue="quick", retry=False)
    answer = client.get(PAGE)
    assert answer.status_code == 200
    said = text(answer)
    assert "1 message waits" in said
    assert f"the key {tally.KEY} , in which workers count, holds something else now. Delete it" in said
    assert "Arrived, done unknown" in said
    assert "done:quick" not in tally.take()
    assert tally.take()["waiting:quick"] == 1
    where = re.search(r'href="(/redis/keys/[^"]+)"', answer.content.decode())
    assert where
    assert "not a hash" in text(client.get(where[1]))
    state.delete(tally.KEY)
    tally.count("done", "quick", 30)
    assert re.search(r"Done (6.0|5.\d) a minute", text(client.get(PAGE)))


def test_a_sample_is_taken() -> None:
    assert {"done:celery", "waiting:quick", "held:quick"} <= set(tally.take())
