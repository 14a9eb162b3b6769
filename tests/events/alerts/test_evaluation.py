"""When an alarm fires, goes on firing and is over."""

from __future__ import annotations

import threading
import time
from datetime import timedelta

import pytest
from django.db import connection, connections
from django.urls import reverse
from redis.exceptions import ConnectionError as RedisAway

from arcweb import alarms
from arcweb.alarms import Alarm, Reading, Unknown
from arcweb.events.alerts import evaluation
from arcweb.events.alerts.rules import ON_OFF, Rule, measure
from arcweb.events.models import Alert, AlertSetting, AlertStanding, Event
from tests.events.alerts.conftest import START, Gauge, change

pytestmark = pytest.mark.django_db


def states() -> list[str]:
    return list(Alert.objects.order_by("id").values_list("state", flat=True))


def kinds() -> list[str]:
    rows = Event.objects.filter(kind__startswith="alert.").order_by("id")
    return list(rows.values_list("kind", flat=True))


def test_it_fires_only_after_it_lasted(gauge: Gauge) -> None:
    gauge.show(95, 95)
    assert states() == []
    assert gauge.show(99)[0].fired == ("test.gauge",)
    alert = Alert.objects.get()
    assert (alert.value, alert.worst, alert.threshold, alert.unit) == (99, 99, 90, "%")
    assert alert.since == START + timedelta(seconds=30), "since it was first seen, not since it fired"
    assert alert.fired_at == gauge.now
    gauge.show(93, 91)
    alert.refresh_from_db()
    assert (alert.value, alert.worst, alert.sentence) == (91, 99, "The gauge stands at 91.")
    assert kinds() == ["alert.fired"]


def test_a_short_peak_fires_nothing(gauge: Gauge) -> None:
    gauge.show(95, 95, 10, 95, 95, 10)
    assert states() == []


def test_it_is_over_only_after_that_lasted_too(gauge: Gauge) -> None:
    gauge.show(95, 95, 95)
    gauge.show(10, 10, 95, 10, 10)
    assert states() == ["firing"]
    assert gauge.show(10)[0].ended == ("test.gauge",)
    alert = Alert.objects.get()
    assert (alert.state, alert.ended_at, alert.ended_by) == ("ended", gauge.now, "")
    assert kinds() == ["alert.fired", "alert.ended"]
    gauge.show(95, 95, 95)
    assert states() == ["ended", "firing"]


@pytest.mark.parametrize(
    ("nothing", "told"),
    [
        (None, "no fresh figure"),
        (Unknown("Nobody measured it."), "Nobody measured it."),
        (RuntimeError("password=hunter2"), "RuntimeError"),
        (RedisAway("redis://:hunter2@host"), "Redis"),
        (float("nan"), "no number"),
    ],
)
def test_what_is_unknown_neither_fires_nor_clears(gauge: Gauge, nothing: Exception | None, told: str) -> None:
    gauge.show(95, 95, nothing, nothing, nothing)
    assert states() == []
    standing = AlertStanding.objects.get()
    assert standing.value is None
    assert told in standing.trouble
    assert "hunter2" not in standing.trouble
    gauge.show(95, 95)
    assert states() == [], "the time began anew"
    gauge.show(95, nothing, nothing, nothing, nothing)
    assert states() == ["firing"]
    gauge.show(10, 10, nothing, 10, 10)
    assert states() == ["firing"]
    gauge.show(10)
    assert states() == ["ended"]


def test_time_without_a_look_counts_for_nothing(gauge: Gauge) -> None:
    gauge.show(95)
    gauge.slot += 20
    gauge.show(95)
    assert states() == []
    gauge.show(95, 95)
    assert states() == ["firing"]


def test_a_slow_look_is_stopped_and_unknown(gauge: Gauge, monkeypatch: pytest.MonkeyPatch) -> None:
    def sleep() -> Reading:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_sleep(30)")
        return Reading(99, "It slept.")

    monkeypatch.setattr(evaluation, "LOOK_SECONDS", 0.2)
    change(look=sleep)
    began = time.monotonic()
    gauge.show(0)
    assert time.monotonic() - began < 25  # it sleeps for 30
    assert "was stopped" in AlertStanding.objects.get().trouble


def test_one_that_fails_does_not_stop_the_others(gauge: Gauge) -> None:
    def broken() -> Reading:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1/0")
        raise AssertionError

    alarms.register_alarm(Alarm("a.broken", "Broken", "Safety", broken, "", 1, "", lasting=60))
    alarms.register_alarm(
        Alarm("z.writes", "Writes", "Safety", lambda: Reading(Alert.objects.all().delete()[0], ""), "", 1, "")
    )
    rounds = gauge.show(95, 95, 95)
    assert rounds[0].looked == ("a.broken", "test.gauge", "z.writes")
    assert states() == ["firing"]
    troubles = dict(AlertStanding.objects.values_list("alarm", "trouble"))
    assert "division by zero" in troubles["a.broken"]
    assert "read-only" in troubles["z.writes"], "a look may not write"
    assert troubles["test.gauge"] == ""


def test_at_or_below(gauge: Gauge) -> None:
    change(fires="at or below", threshold=5, lasting=0)
    gauge.show(6)
    assert states() == []
    gauge.show(5, 3, 4)
    assert Alert.objects.get().worst == 3
    gauge.show(6)
    assert states() == ["ended"]


def test_a_changed_threshold_counts_from_the_next_look(gauge: Gauge) -> None:
    AlertSetting.objects.create(alarm="test.gauge", threshold=50, lasting=0)
    gauge.show(60)
    assert Alert.objects.get().threshold == 50
    AlertSetting.objects.update(threshold=70)
    gauge.show(60)
    assert states() == ["ended"]


def test_switched_off_it_is_not_asked_and_what_fires_ends(gauge: Gauge) -> None:
    gauge.show(95, 95, 95)
    AlertSetting.objects.create(alarm="test.gauge", off=True)
    looks = gauge.looks
    gauge.show(95)
    assert gauge.looks == looks
    assert Alert.objects.get().ended_by == evaluation.OFF


def test_an_alarm_that_is_gone_does_not_fire_for_ever(gauge: Gauge) -> None:
    gauge.show(95, 95, 95)
    alarms._alarms.clear()
    evaluation.evaluate("web", now=gauge.now)
    assert states() == ["firing"], "each process ends its own"
    gauge.show(95)
    assert Alert.objects.get().ended_by == evaluation.GONE


def test_a_slot_is_looked_at_once(gauge: Gauge) -> None:
    gauge.show(95)
    assert evaluation.evaluate(now=gauge.now + timedelta(seconds=29)).looked == ()
    assert evaluation.evaluate(now=gauge.now - timedelta(seconds=60)).looked == (), "an old task, late"
    assert gauge.looks == 1


@pytest.mark.django_db(transaction=True)
def test_two_beats_at_once_make_one_alert(gauge: Gauge) -> None:
    change(lasting=0)
    gauge.shows = 95
    alarms.register_alarm(
        Alarm("test.other", "Other", "Safety", lambda: Reading(99, ""), "%", 90, "", lasting=0)
    )
    several, rounds = threading.Barrier(4), []

    def beat() -> None:
        several.wait()
        rounds.append(evaluation.evaluate(now=gauge.now))
        connections.close_all()

    threads = [threading.Thread(target=beat) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(name for one in rounds for name in one.looked) == ["test.gauge", "test.other"]
    assert Alert.objects.count() == 2
    assert kinds() == ["alert.fired"] * 2


@pytest.mark.django_db(transaction=True)
def test_a_round_that_was_overtaken_writes_nothing(gauge: Gauge) -> None:
    change(lasting=0)

    def late() -> Reading:
        """Frozen inside its look while the next round passes by."""
        if gauge.looks == 0:
            gauge.looks += 1
            other = threading.Thread(target=next_round)
            other.start()
            other.join()
            return Reading(99, "Long ago.")
        return Reading(1, "Well.")

    def next_round() -> None:
        evaluation.evaluate(now=gauge.now + timedelta(seconds=30))
        connections.close_all()

    change(look=late)
    evaluation.evaluate(now=gauge.now)
    assert states() == []
    assert AlertStanding.objects.get().value == 1


def test_every_alarm_can_be_looked_at() -> None:
    """Those that the rooms register: a look brings a reading or a reason, and the sentence is one."""
    for alarm in alarms.alarms():
        found = evaluation.look(alarm)
        assert found.reading or found.trouble, alarm.name
        said = found.reading.sentence if found.reading else found.trouble
        assert said.rstrip().endswith((".", ";", "!")), f"{alarm.name}: {said!r}"
        assert "the log says why" not in found.trouble, alarm.name
        assert alarm.why.endswith("."), f"{alarm.name} does not say where its threshold comes from"
        assert not alarm.url_name or reverse(alarm.url_name)


@pytest.mark.parametrize(
    ("value", "unit", "words"),
    [
        (0, "jobs", "0 jobs"),
        (1, "jobs", "1 job"),
        (1, "memories", "1 memory"),
        (1200, "rows", "1,200 rows"),
        (1, "s", "1 s"),
        (3.4e-6, "%", "below 0.01 %"),
        (9.279, "%", "9.28 %"),
        (0, "%", "0 %"),
        (1, ON_OFF, "on"),
        (0, ON_OFF, "off"),
    ],
)
def test_a_value_as_a_person_reads_it(value: float, unit: str, words: str) -> None:
    assert measure(value, unit) == words


def test_what_is_on_or_off_fires_while_it_is_so() -> None:
    alarm = alarms.find_alarm("postgres.autovacuum")
    assert alarm is not None
    assert Rule(alarm, 0, 60).says == "while off for 1 min"
