"""The pages of alerts."""

from __future__ import annotations

import re
import threading
from datetime import timedelta
from html import unescape
from typing import Any

import pytest
from django.db import connection, transaction
from django.http import HttpResponse
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from arcweb import alarms
from arcweb.alarms import Alarm, Reading, Unknown
from arcweb.events.alerts import changes, evaluation
from arcweb.events.alerts.history import PAGE_SIZE
from arcweb.events.models import Alert, AlertSetting, AlertStanding, Event, Silence
from arcweb.samples import taking
from arcweb.seen import ChangedMeanwhile
from tests.events.alerts.conftest import Gauge, change
from tests.people import client_of
from tests.waiting import until

pytestmark = pytest.mark.django_db
LIST = "/alerts/"
PAGE = "/alerts/test.gauge/"


@pytest.fixture
def operator() -> Client:
    return client_of("operator")


def text(client: Client, path: str, **query: str) -> str:
    page = client.get(path, query)
    assert page.status_code == 200
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]*>", " ", page.content.decode())))


def measure(gauge: Gauge, *values: float | Exception | None) -> None:
    """Rounds whose last one is now; what was found before counts for nothing."""
    AlertStanding.objects.all().delete()
    began = timezone.now() - timedelta(seconds=30 * (len(values) - 1))
    for number, value in enumerate(values):
        gauge.shows = value
        evaluation.evaluate(now=began + timedelta(seconds=30 * number))


def make_past(number: int, alarm: str = "test.gauge") -> None:
    began = timezone.now() - timedelta(days=2)
    Alert.objects.bulk_create(
        Alert(
            alarm=alarm,
            title="Gauge high",
            room="Safety",
            unit="%",
            severity="warn",
            fires="at or above",
            threshold=90,
            state="ended",
            since=began + timedelta(minutes=index),
            fired_at=began + timedelta(minutes=index),
            ended_at=began + timedelta(minutes=index, seconds=90),
            value=10,
            worst=95 + index / 1000,
            sentence=f"Number {index}.",
        )
        for index in range(number)
    )


def test_who_may_see_and_who_may_change(gauge: Gauge) -> None:
    assert reverse("admin:alerts") == LIST
    viewer = client_of("viewer")
    assert client_of("").get(LIST).status_code == 403
    for path in (LIST, PAGE):
        page = viewer.get(path)
        assert page.status_code == 200
        assert b"/silence/" not in page.content
        assert b"/rule/" not in page.content
    for action in ("rule/", "silence/", "unsilence/"):
        assert viewer.post(PAGE + action, {"span": "1h"}).status_code == 403
        assert client_of("operator").get(PAGE + action).status_code == 405
    assert viewer.get("/alerts/nothing/").status_code == 404
    assert f'href="{LIST}"' in viewer.get("/").content.decode()


def test_a_rule_with_a_permission_is_not_shown_to_others(gauge: Gauge) -> None:
    change(permission="database.view_safety")
    viewer, operator = client_of("viewer"), client_of("operator")
    assert "Gauge high" not in text(viewer, LIST)
    assert "Gauge high" not in text(viewer, "/panels/alerts/")
    assert viewer.get(PAGE).status_code == 404
    assert "Gauge high" in text(operator, LIST)


def test_the_states_of_a_rule_in_words(gauge: Gauge, operator: Client) -> None:
    assert "Nobody has looked at it yet" in text(operator, LIST)
    measure(gauge, 42)
    page = text(operator, LIST)
    assert "All well No alert fires: 1 of 1 rules were looked at and hold." in page
    assert "Well 42 % at or above 90 % for 1 min The test says so." in page
    assert "Well The gauge stands at 42." in text(operator, PAGE)
    measure(gauge, 95, 95)
    assert re.search(r"Pending for \d+ s of 1 min 95 %", text(operator, LIST))
    assert "It has been at or above 90 % for" in text(operator, PAGE)
    measure(gauge, 95, 97, 95)
    page = text(operator, LIST)
    assert "1 firing Gauge high, for 1 min" in page
    assert "The gauge stands at 95." in page
    assert "threshold 90 %, worst 97 %" in page or "threshold 90 %, worst 95 %" in page
    measure(gauge, Unknown("Nobody measured it."))
    page = text(operator, LIST)
    assert "Nobody measured it. It goes on firing until it is known to be over." in page


def test_unknown_is_never_shown_as_well(gauge: Gauge, operator: Client) -> None:
    measure(gauge, Unknown("Nobody measured it."))
    page = text(operator, LIST)
    assert "Not all is known" in page
    assert "Nobody measured it." in page
    assert "All well" not in page
    assert "Unknown" in text(operator, PAGE)


def test_what_nobody_looks_at_any_more_is_unknown(gauge: Gauge, operator: Client) -> None:
    gauge.shows = 10
    evaluation.evaluate(now=timezone.now() - timedelta(minutes=10))
    page = text(operator, LIST)
    assert "Nobody has looked at it for 10 min" in page
    assert "the worker, or Celery beat, that does stands still." in page


def test_a_threshold_is_changed_and_changed_back(gauge: Gauge, operator: Client) -> None:
    answer = operator.post(PAGE + "rule/", {"threshold": "40", "lasting": "0"}, follow=True)
    assert b"The rule was changed" in answer.content
    event = Event.objects.get(kind="alert_rule.changed")
    assert event.data["before"] == "at or above 90 % for 1 min"
    assert event.data["after"] == "at or above 40 %"
    page = text(operator, LIST)
    assert "at or above 40 % changed" in page
    assert "at or above 40 % changed default: at or above 90 % for 1 min" in page
    measure(gauge, 50)
    assert Alert.objects.get().threshold == 40
    assert "changed the rule Gauge high: at or above 90 % for 1 min became at or above 40 %" in text(
        operator, "/events/"
    )
    operator.post(PAGE + "rule/", {"default": "1"})
    assert not AlertSetting.objects.exists()
    answer = operator.post(PAGE + "rule/", {"threshold": "90", "lasting": "60"}, follow=True)
    assert b"The rule is as it was" in answer.content
    operator.post(PAGE + "rule/", {"threshold": "90", "lasting": "60", "off": "on"})
    measure(gauge, 95)
    assert "switched off" in text(operator, LIST)
    assert "Off not looked at" in text(operator, LIST)


def test_two_change_a_threshold(gauge: Gauge, operator: Client) -> None:
    def seen(page: HttpResponse) -> dict[str, str]:
        found = re.search(r'name="seen" value="([^"]*)"', page.content.decode())
        assert found is not None
        return {"seen": unescape(found[1])}

    shown = seen(operator.get(PAGE))
    operator.post(PAGE + "rule/", {"threshold": "40", "lasting": "60"})
    mine = {**shown, "threshold": "50", "lasting": "0"}
    answer = operator.post(PAGE + "rule/", mine)
    page = unescape(answer.content.decode())
    assert answer.status_code == 422
    assert "Somebody saved another threshold meanwhile: 40. Yours is kept here and not saved yet" in page
    assert 'value="50"' in page
    assert AlertSetting.objects.get().threshold == 40
    back = operator.post(PAGE + "rule/", {**shown, "threshold": "50", "lasting": "0", "default": "1"})
    assert back.status_code == 302
    assert AlertSetting.objects.get().threshold == 40, "what was the default was left alone"
    assert operator.post(PAGE + "rule/", {**mine, **seen(answer)}).status_code == 302
    setting = AlertSetting.objects.get()
    assert (setting.threshold, setting.lasting) == (50, 0)
    # The default is left for another, and what was left alone stays.
    shown = seen(operator.get(PAGE))
    operator.post(PAGE + "rule/", {"threshold": "50", "lasting": "30"})
    assert operator.post(PAGE + "rule/", {**shown, "threshold": "55", "lasting": "0"}).status_code == 302
    setting = AlertSetting.objects.get()
    assert (setting.threshold, setting.lasting) == (55, 30)


def test_a_threshold_that_is_changed_in_the_same_moment_is_told_too(
    gauge: Gauge, operator: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = operator.get(PAGE).content.decode()
    found = re.search(r'name="seen" value="([^"]*)"', page)
    assert found is not None
    save, saved = changes.set_rule, []

    def another_was_first(alarm: Alarm, **wanted: Any) -> bool:
        if not saved:
            saved.append(save(alarm, **{**wanted, "threshold": 40.0}))
        return save(alarm, **wanted)

    monkeypatch.setattr(changes, "set_rule", another_was_first)
    mine = {"seen": unescape(found[1]), "threshold": "50", "lasting": "60"}
    answer = operator.post(PAGE + "rule/", mine)
    assert "another threshold meanwhile: 40." in unescape(answer.content.decode())
    assert AlertSetting.objects.get().threshold == 40


@pytest.mark.django_db(transaction=True)
def test_of_two_first_changes_at_once_the_second_is_told(gauge: Gauge) -> None:
    (alarm,) = alarms.alarms()
    seen = evaluation.rule_of(alarm, None)
    told: list[object] = []

    def second() -> None:
        try:
            told.append(changes.set_rule(alarm, threshold=50, lasting=60, off=False, seen=seen))
        except ChangedMeanwhile as error:
            told.append(error)
        finally:
            connection.close()

    thread = threading.Thread(target=second)
    with transaction.atomic():
        assert changes.set_rule(alarm, threshold=40, lasting=60, off=False, seen=seen)
        thread.start()
        until(somebody_waits, what="the second change's wait for the first")
    thread.join()
    assert isinstance(told[0], ChangedMeanwhile)
    assert AlertSetting.objects.get().threshold == 40


def somebody_waits() -> bool:
    """Whether a session waits for a lock that this one holds."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_locks "
            "WHERE NOT granted AND pg_backend_pid() = ANY (pg_blocking_pids(pid))"
        )
        return bool(cursor.fetchone()[0])


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"threshold": "101", "lasting": "0"}, "from 0 to 100 %"),
        ({"threshold": "-1", "lasting": "0"}, "0 or more"),
        ({"threshold": "nan", "lasting": "0"}, "number"),
        ({"threshold": "1e300", "lasting": "0"}, "too large"),
        ({"threshold": "", "lasting": "0"}, "required"),
        ({"threshold": "90", "lasting": "-1"}, "greater than or equal to 0"),
        ({"threshold": "90", "lasting": "86401"}, "less than or equal to 86400"),
    ],
)
def test_a_bad_threshold_changes_nothing(
    gauge: Gauge, operator: Client, values: dict[str, str], told: str
) -> None:
    answer = operator.post(PAGE + "rule/", values)
    assert answer.status_code == 422
    assert told in unescape(answer.content.decode())
    assert not AlertSetting.objects.exists()


def test_a_silence_from_the_list_and_back(gauge: Gauge, operator: Client) -> None:
    measure(gauge, 95, 95, 95)
    answer = operator.post(PAGE + "silence/", {"span": "8h", "from": "list", "why": "Maintenance"})
    assert answer.headers["Location"] == LIST
    page = text(operator, LIST)
    assert "Firing, silenced" in page
    assert "Maintenance" in page
    assert "1 firing" not in page
    assert "silenced the alert Gauge high for 8 h" in text(operator, "/events/")
    operator.post(PAGE + "silence/", {"span": "1h"})
    assert Silence.objects.active().count() == 1, "the earlier one is replaced"
    operator.post(PAGE + "unsilence/")
    assert not Silence.objects.active().exists()
    assert "1 firing" in text(operator, LIST)


def test_a_silence_until_a_time(gauge: Gauge, operator: Client) -> None:
    until = timezone.now() + timedelta(days=3)
    operator.post(PAGE + "silence/", {"span": "until", "until": f"{until:%Y-%m-%dT%H:%M}"})
    assert abs(Silence.objects.get().until - until) < timedelta(minutes=1)
    for bad in ("", "soon", f"{timezone.now() - timedelta(hours=1):%Y-%m-%dT%H:%M}", "2999-01-01T00:00"):
        answer = operator.post(PAGE + "silence/", {"span": "until", "until": bad})
        assert answer.status_code == 422, bad
    assert operator.post(PAGE + "silence/", {"span": "9y"}).status_code == 422
    assert Silence.objects.count() == 1


def test_a_silence_that_is_over_counts_no_more(gauge: Gauge, operator: Client) -> None:
    Silence.objects.create(alarm="test.gauge", until=timezone.now() - timedelta(seconds=1))
    measure(gauge, 95, 95, 95)
    assert "1 firing" in text(operator, LIST)


def test_history_turns_both_ways(gauge: Gauge, operator: Client) -> None:
    make_past(2 * PAGE_SIZE + 3)
    for path in (LIST, PAGE):
        seen: list[str] = []
        url = path
        while True:
            page = operator.get(url).content.decode()
            seen += re.findall(r"Number (\d+)\.", page)
            link = re.search(r'rel="next" href="([^"#]*)', page)
            if not link:
                break
            url = path + unescape(link[1])
        assert [int(number) for number in seen] == list(reversed(range(2 * PAGE_SIZE + 3)))
        assert 'rel="prev"' in page
    assert operator.get(LIST, {"older": "nonsense~x"}).status_code == 200


def test_the_overview_shows_what_fires(gauge: Gauge) -> None:
    viewer = client_of("viewer")
    measure(gauge, 10)
    assert "None fires" in text(viewer, "/panels/alerts/")
    measure(gauge, 95, 95, 95)
    card = text(viewer, "/panels/alerts/")
    assert "1 firing" in card
    assert "Gauge high 95 %" in card
    taking.take_samples()
    assert "Alert: Gauge high (95 %)." in text(viewer, "/panels/verdict/", of="alerts")
    change(permission="database.view_safety")
    assert "Gauge high" not in text(viewer, "/panels/verdict/", of="alerts")


def test_the_event_leads_to_the_alert(gauge: Gauge) -> None:
    measure(gauge, 95, 95, 95)
    viewer = client_of("viewer")
    page = viewer.get("/events/").content.decode()
    assert f'<a href="{PAGE}">raised the alert Gauge high: 95 % (at or above 90 %)</a>' in page
    measure(gauge, 10, 10, 10)
    assert "gave the all-clear for Gauge high after" in text(viewer, "/events/")


def test_queries_do_not_grow(gauge: Gauge, operator: Client, django_assert_num_queries: object) -> None:
    operator.get(LIST)
    for rows in (5, 200):
        make_past(rows)
        for number in range(rows // 5):
            name = f"test.more{rows}-{number}"
            alarms.register_alarm(
                Alarm(name, name, "Redis", lambda: Reading(5, "High."), "", 1, "Because.", lasting=0)
            )
        evaluation.evaluate()
        # session and user, permissions (own, group); standings, alerts, silences, settings; history, channels
        with django_assert_num_queries(9):  # type: ignore[operator]
            operator.get(LIST)


def test_markup_in_what_alarms_say_is_text(gauge: Gauge, operator: Client) -> None:
    change(look=lambda: Reading(99, "<script>alert(1)</script>"), lasting=0, title="<b>Bold</b>")
    evaluation.evaluate()
    for path in (LIST, PAGE, "/panels/alerts/", "/events/"):
        page = operator.get(path).content.decode()
        assert "<script>alert(1)" not in page
        assert "<b>Bold" not in page
