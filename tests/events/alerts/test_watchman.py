"""What the web process does for alerts: servers that are away, and PostgreSQL itself."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection

from arcweb import alarms, servers
from arcweb.events.alerts import sending
from arcweb.events.alerts import servers as server_alarms
from arcweb.events.alerts.watchman import POSTGRES, Watchman
from arcweb.events.models import Alert, AlertSetting, AlertStanding, Delivery
from arcweb.servers import Finding
from tests.events.alerts.receivers import Receiver, receiver, reply

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def board(monkeypatch: pytest.MonkeyPatch) -> servers.Board:
    """States as a prober would keep them; every server is well. Only the alarms of servers exist."""
    board = servers.Board()
    monkeypatch.setattr(servers, "board", board)
    own = {alarm.name: alarm for alarm in alarms.alarms() if alarm.name.startswith("servers.")}
    monkeypatch.setattr(alarms, "_alarms", own)
    board.watch(lambda name: None)
    for name in servers.NAMES:
        board.note(name, Finding(True, "It answers in 1 ms."))
    return board


@pytest.fixture
def hook(settings: Any) -> Iterator[Receiver]:
    with receiver() as got:
        settings.ARC_ALERT_WEBHOOKS = [got.url]
        settings.ARC_ALERT_WEBHOOK_INSIDE = ["127.0.0.1"]
        yield got


def go_away(board: servers.Board, name: Any, seconds: float) -> None:
    since = datetime.now(UTC) - timedelta(seconds=seconds)
    board.note(name, Finding(False, "It takes no connections.", since=since))


def next_slot() -> None:
    """The rounds of this test are moments apart: let the last one be half a minute ago."""
    back = timedelta(seconds=30)
    for standing in AlertStanding.objects.all():
        AlertStanding.objects.filter(pk=standing.pk).update(
            slot=standing.slot - back,
            looked_at=standing.looked_at - back if standing.looked_at else None,
            beyond_since=standing.beyond_since - back if standing.beyond_since else None,
            within_since=standing.within_since - back if standing.within_since else None,
        )


def test_a_worker_that_is_away_fires_and_is_told_by_the_web_process(
    board: servers.Board, hook: Receiver
) -> None:
    watchman = Watchman()
    watchman.tick()
    assert Alert.objects.count() == 0
    go_away(board, "worker", 45)
    next_slot()
    watchman.tick()
    assert Alert.objects.count() == 0
    next_slot()
    watchman.tick()
    alert = Alert.objects.get()
    assert (alert.alarm, alert.severity) == ("servers.worker", "bad")
    assert "The Celery worker is away: It takes no connections. Jobs stay queued" in alert.sentence
    assert [message["alarm"] for message in hook.got] == ["servers.worker"], "no worker could have sent it"
    board.note("worker", Finding(True))
    for _ in range(2):
        next_slot()
        watchman.tick()
    assert Alert.objects.get().state == "ended"
    assert len(hook.got) == 1, "now the worker sends"
    sending.send_due()
    assert [message["status"] for message in hook.got] == ["firing", "ended"]


def test_what_the_prober_does_not_know_is_unknown(board: servers.Board) -> None:
    board.note("worker", Finding(None, "Unknown, because Redis is away."))
    Watchman().tick()
    standing = AlertStanding.objects.get(alarm="servers.worker")
    assert (standing.value, standing.trouble) == (None, "Unknown, because Redis is away.")


def test_postgres_away_is_told_from_memory_and_written_down_later(
    board: servers.Board, hook: Receiver, settings: Any
) -> None:
    watchman = Watchman()
    watchman.tick()

    def dead(*args: Any) -> Any:
        raise AssertionError("PostgreSQL is away")

    with connection.execute_wrapper(dead):
        go_away(board, "postgres", 20)
        watchman.tick()
        assert hook.got == [], "a restart is no alert"
        go_away(board, "postgres", 0)
        board.note("postgres", Finding(True))
        go_away(board, "postgres", 70)
        hook.behave = lambda handler: reply(handler, 500)
        watchman.tick()
        hook.behave = lambda handler: reply(handler, 200)
        watchman.tick()
        watchman.tick()
    told = [(message["status"], message["alarm"], message["alert"]) for message in hook.got]
    assert told == [("firing", POSTGRES, None)] * 2, "tried until it was taken, then no more"
    assert hook.got[0]["id"] == hook.got[1]["id"]
    assert "what is stored is safe" in hook.got[0]["text"]

    board.note("postgres", Finding(True, "It answers."))
    watchman.tick()
    alert = Alert.objects.get()
    assert (alert.alarm, alert.state) == (POSTGRES, "firing")
    assert alert.fired_at - alert.since >= timedelta(seconds=60)
    delivery = Delivery.objects.get()
    assert (str(delivery.pk), delivery.state, delivery.attempts) == (hook.got[0]["id"], "sent", 2)
    for _ in range(2):
        next_slot()
        watchman.tick()
    assert Alert.objects.get().state == "ended"
    sending.send_due()
    assert [message["status"] for message in hook.got] == ["firing", "firing", "ended"]


def test_postgres_away_is_not_told_when_the_rule_is_off(board: servers.Board, hook: Receiver) -> None:
    AlertSetting.objects.create(alarm=POSTGRES, off=True)
    watchman = Watchman()
    watchman.tick()
    go_away(board, "postgres", 600)
    watchman.tick()
    assert hook.got == []


def test_a_process_without_a_prober_knows_nothing() -> None:
    with pytest.raises(alarms.Unknown):
        server_alarms.look("worker")


def test_the_thread_looks_by_itself_and_stops(board: servers.Board, monkeypatch: pytest.MonkeyPatch) -> None:
    from arcweb.events.alerts import watchman as module

    monkeypatch.setattr(module, "SLOT", 0.05)
    watchman = Watchman()
    ticks: list[int] = []

    def tick() -> None:
        ticks.append(1)
        if len(ticks) == 3:
            watchman._stopping.set()

    monkeypatch.setattr(watchman, "tick", tick)
    watchman.start()
    watchman._thread.join(60)
    assert len(ticks) == 3
