"""What is sent, to whom, how often."""

from __future__ import annotations

import hashlib
import hmac
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.core import mail
from django.db import connections
from django.db.models.functions import Now
from django.utils import timezone

from arcweb.events.alerts import changes, deliveries, evaluation, sending, webhooks
from arcweb.events.alerts.channels import channels
from arcweb.events.alerts.querysets import KEEP
from arcweb.events.models import Alert, Delivery, Event, Silence
from arcweb.events.tasks import evaluate_alarms
from cache_admin.structures import limits
from tests.events.alerts.conftest import Gauge, change
from tests.events.alerts.receivers import Receiver, hang, mail_server, receiver, redirect_to, reply
from tests.people import client_of, make_user

pytestmark = pytest.mark.django_db
FIRE, CLEAR = (95, 95, 95), (10, 10, 10)


@pytest.fixture
def hook(settings: Any) -> Iterator[Receiver]:
    with receiver() as got:
        settings.ARC_ALERT_WEBHOOKS = [got.url]
        settings.ARC_ALERT_WEBHOOK_INSIDE = ["127.0.0.1"]
        yield got


@pytest.fixture
def mails(settings: Any) -> None:
    settings.ARC_ALERT_EMAILS = ["ops@example.org", "night@example.org"]


def run(gauge: Gauge, *values: float | Exception | None) -> None:
    for value in values:
        gauge.show(value)
        sending.send_due()


def statuses(got: Receiver) -> list[str]:
    return [message["status"] for message in got.got]


def hurry() -> None:
    Delivery.objects.update(next_try_at=Now())


def test_what_another_round_ended_meanwhile_is_not_told(gauge: Gauge, hook: Receiver) -> None:
    """It would never be followed by an all-clear."""
    run(gauge, *FIRE)
    Delivery.objects.all().delete()  # as if a silence had kept it back until now
    seen = list(Alert.objects.firing())
    assert evaluation.end(Alert.objects.firing(), timezone.now())
    deliveries.owe(seen, "firing")
    assert not Delivery.objects.exists()


def test_each_channel_is_told_once_and_once_the_all_clear(gauge: Gauge, hook: Receiver, mails: None) -> None:
    run(gauge, *FIRE, 96, 97, None)
    assert statuses(hook) == ["firing"]
    run(gauge, *CLEAR, 10, 10)
    assert statuses(hook) == ["firing", "ended"]
    assert [one.subject for one in mail.outbox] == [
        "[ARC Web] Firing: Gauge high",
        "[ARC Web] All clear: Gauge high",
    ]
    assert mail.outbox[0].to == ["ops@example.org", "night@example.org"]
    assert "The gauge stands at 95." in mail.outbox[0].body
    assert "Threshold: at or above 90 %" in mail.outbox[0].body
    assert Delivery.objects.filter(state="sent").count() == 4
    run(gauge, *FIRE)
    assert statuses(hook) == ["firing", "ended", "firing"], "another time is another alert"


def test_what_a_webhook_gets(gauge: Gauge, hook: Receiver, settings: Any) -> None:
    settings.ARC_PUBLIC_URL = "https://arc.example.org/"
    settings.ARC_ALERT_WEBHOOK_SECRET = "a long enough secret"
    run(gauge, *FIRE)
    alert, delivery = Alert.objects.get(), Delivery.objects.get()
    body, headers = hook.got[0], hook.headers[0]
    assert body["id"] == headers["Arc-Delivery"] == str(delivery.pk)
    assert body["url"] == "https://arc.example.org/alerts/test.gauge/"
    assert body["text"] == "Gauge high: 95 %. The gauge stands at 95."
    expected = {
        "alert": alert.pk,
        "alarm": "test.gauge",
        "severity": "warn",
        "value": 95.0,
        "threshold": 90.0,
    }
    assert expected.items() <= body.items()
    moment, _, signed = headers["Arc-Signature"].removeprefix("t=").partition(",v1=")
    wanted = hmac.new(b"a long enough secret", f"{moment}.".encode() + hook.bodies[0], hashlib.sha256)
    assert signed == wanted.hexdigest()


def test_without_channels_nothing_is_kept(gauge: Gauge) -> None:
    run(gauge, *FIRE, *CLEAR)
    assert Alert.objects.count() == 1
    assert not Delivery.objects.exists()


def test_what_is_silenced_is_sent_when_the_silence_ends(gauge: Gauge, hook: Receiver) -> None:
    changes.silence(_alarm(), timezone.now() + timedelta(hours=1), "Maintenance")
    run(gauge, *FIRE, 95)
    assert hook.got == []
    changes.lift(_alarm())
    run(gauge, 95)
    assert statuses(hook) == ["firing"]


def test_what_ended_in_a_silence_is_never_sent(gauge: Gauge, hook: Receiver) -> None:
    changes.silence(_alarm(), timezone.now() + timedelta(hours=1))
    run(gauge, *FIRE, *CLEAR)
    Silence.objects.update(lifted_at=Now())
    run(gauge, 10)
    assert hook.got == []


def test_the_all_clear_comes_in_a_silence_too(gauge: Gauge, hook: Receiver) -> None:
    """Somebody was told that it fires, and waits."""
    run(gauge, *FIRE)
    changes.silence(_alarm(), timezone.now() + timedelta(hours=1))
    run(gauge, *CLEAR)
    assert statuses(hook) == ["firing", "ended"]


def test_a_receiver_that_fails_is_tried_again_with_the_same_id(gauge: Gauge, hook: Receiver) -> None:
    hook.behave = lambda handler: reply(handler, 503)
    run(gauge, *FIRE)
    waiting = Delivery.objects.get()
    assert (waiting.state, waiting.attempts) == ("waiting", 1)
    assert waiting.last_error == "The receiver answered with status 503."
    assert timedelta(seconds=20) < waiting.next_try_at - timezone.now() < timedelta(seconds=31)
    assert sending.send_due() == 0, "not before its time"
    run(gauge, *CLEAR)
    assert statuses(hook) == ["firing"], "the all-clear waits for it"
    assert "Try 1 of 6 failed" in client_of("viewer").get("/alerts/").content.decode()
    hook.behave = lambda handler: reply(handler, 200)
    hurry()
    sending.send_due()
    assert statuses(hook) == ["firing", "firing", "ended"]
    assert hook.got[0]["id"] == hook.got[1]["id"] != hook.got[2]["id"]
    assert hook.bodies[0] == hook.bodies[1]


def test_after_so_many_tries_it_is_given_up_and_told(gauge: Gauge, hook: Receiver) -> None:
    hook.behave = redirect_to("http://169.254.169.254/latest/meta-data/")
    run(gauge, *FIRE)
    for _ in range(sending.MOST_TRIES + 2):
        hurry()
        sending.send_due()
    assert len(hook.got) == sending.MOST_TRIES
    assert Delivery.objects.get().state == "failed"
    event = Event.objects.get(kind="alert.undelivered")
    assert event.data["attempts"] == sending.MOST_TRIES
    operator = client_of("operator")
    for path in ("/alerts/", "/alerts/test.gauge/"):
        page = operator.get(path).content.decode()
        assert "Given up after 6 tries" in page
        assert "redirects (status 302), which is not followed" in page
        assert "s3cr3t" not in page
    assert "s3cr3t" not in operator.get("/events/").content.decode()
    run(gauge, *CLEAR)
    assert statuses(hook)[-1] == "ended", "what was given up holds nothing up"


def test_one_that_hangs_and_one_that_leads_inside_hold_up_no_other(
    gauge: Gauge, settings: Any, mails: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(
        webhooks.post.__kwdefaults__, "deadline", 4.0
    )  # of which the one that is well takes little
    with receiver() as slow, receiver() as well:
        slow.behave = hang
        inward = [
            "https://169.254.169.254/s3cr3t",
            "https://2130706433/s3cr3t",
            "https://[::1]/s3cr3t",
            "https://localhost/s3cr3t",
        ]
        settings.ARC_ALERT_WEBHOOKS = [slow.url, *inward, well.url]
        settings.ARC_ALERT_WEBHOOK_INSIDE = ["127.0.0.1"]
        gauge.show(*FIRE)
        began = time.monotonic()
        sending.send_due()
        assert time.monotonic() - began < 60  # that one hangs for ever
        assert statuses(well) == ["firing"]
        assert len(mail.outbox) == 1
    errors = {one.channel: one.last_error for one in Delivery.objects.exclude(state="sent")}
    assert len(errors) == 5
    told = [errors[channel.name] for channel in channels() if channel.name in errors]
    assert "did not answer within 4 s" in told[0]
    assert all("leads inside" in words for words in told[1:])
    page = client_of("operator").get("/alerts/").content.decode()
    assert page.count("Try 1 of 6 failed") == 5
    assert "leads inside" in page
    assert "s3cr3t" not in page


@pytest.mark.django_db(transaction=True)
def test_two_senders_at_once_send_once(gauge: Gauge, hook: Receiver, mails: None) -> None:
    gauge.show(*FIRE)
    together = threading.Barrier(4)

    def send() -> None:
        together.wait()
        sending.send_due()
        connections.close_all()

    threads = [threading.Thread(target=send) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses(hook) == ["firing"]
    assert len(mail.outbox) == 1


def test_a_sender_that_died_leaves_it_to_the_next(gauge: Gauge, hook: Receiver) -> None:
    gauge.show(*FIRE)
    Delivery.objects.update(claimed_until=timezone.now() + timedelta(seconds=60), attempts=1)
    assert sending.send_due() == 0
    Delivery.objects.update(claimed_until=timezone.now() - timedelta(seconds=1))
    assert sending.send_due() == 1
    assert statuses(hook) == ["firing"]


def test_mail_goes_through_a_real_server(gauge: Gauge, mails: None, settings: Any) -> None:
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_USE_TLS = "127.0.0.1", False
    change(title="Gauge\r\nBcc: eve@example.org")
    with mail_server() as box:
        settings.EMAIL_PORT = box.port
        run(gauge, *FIRE)
        assert box.to == [["ops@example.org", "night@example.org"]]
        got = box.got[0]
        assert got["Subject"] == "[ARC Web] Firing: Gauge Bcc: eve@example.org"
        assert got["Message-ID"] == f"<{Delivery.objects.get().pk}@arcweb>"
        box.refuse = "550 no"
        run(gauge, *CLEAR)
        assert "refuses every address" in Delivery.objects.get(kind="ended").last_error
    hurry()
    sending.send_due()
    assert "cannot be used (ConnectionRefusedError)" in Delivery.objects.get(kind="ended").last_error


def test_a_test_message_by_the_page(gauge: Gauge, hook: Receiver, mails: None) -> None:
    operator = client_of("operator")
    page = operator.get("/alerts/").content.decode()
    assert "http://127.0.0.1:" in page
    assert "s3cr3t" not in page
    assert "into the log" in page, "no mail server is set"
    for channel in channels():
        answer = operator.post("/alerts/test/", {"channel": channel.name})
        assert answer.status_code == 302
    assert operator.post("/alerts/test/", {"channel": "nothing"}).status_code == 404
    assert client_of("viewer").post("/alerts/test/", {"channel": "email"}).status_code == 403
    sending.send_due()
    assert statuses(hook) == ["test"]
    assert mail.outbox[0].subject == "[ARC Web] Test: Test message of ARC Web"
    assert "Sent" in operator.get("/alerts/").content.decode()
    hook.behave = lambda handler: reply(handler, 404)
    operator.post("/alerts/test/", {"channel": channels()[1].name})
    sending.send_due()
    assert "Given up after 1 try" in operator.get("/alerts/").content.decode()
    assert "sent a test message" in operator.get("/events/").content.decode()


def test_test_messages_are_limited_for_each_user(hook: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(limits._limits, "alert_test", replace(limits.TEST_MESSAGE, rate=1, burst=2))
    asked = {"channel": channels()[0].name}
    user = make_user("operator")
    limits.TEST_MESSAGE.reset(f"user:{user.pk}")
    operator = client_of(user)
    answers = [operator.post("/alerts/test/", asked) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [302, 302, 429]
    told = answers[-1].content.decode()
    assert "There were too many test messages of yours" in told
    assert 'href="/alerts/test/"' not in told, "an address that takes forms alone"
    assert Delivery.objects.filter(kind="test").count() == 2
    assert Event.objects.filter(kind="alert.tested").count() == 2
    assert client_of("operator").post("/alerts/test/", asked).status_code == 302


def test_the_task_hands_over_what_is_due(
    gauge: Gauge, hook: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    from arcweb.events import tasks

    change(lasting=0)
    gauge.shows = 95
    sent: list[object] = []
    monkeypatch.setattr(tasks.send_alerts, "apply_async", lambda **options: sent.append(options))
    evaluate_alarms()
    assert sent == [{"expires": 60}]
    tasks.send_alerts()
    assert statuses(hook) == ["firing"]
    evaluate_alarms()
    assert len(sent) == 1


def test_a_channel_that_is_set_no_more_ends_its_messages(gauge: Gauge, hook: Receiver, settings: Any) -> None:
    gauge.show(*FIRE)
    settings.ARC_ALERT_WEBHOOKS = []
    sending.send_due()
    assert Delivery.objects.get().last_error == "This channel is set no more."
    assert Delivery.objects.get().state == "failed"


def test_old_alerts_are_forgotten_with_their_messages(gauge: Gauge, hook: Receiver) -> None:
    run(gauge, *FIRE, *CLEAR)
    run(gauge, *FIRE)
    old = timezone.now() - KEEP - timedelta(days=1)
    assert Alert.objects.forget_old() == 0
    Alert.objects.filter(state="ended").update(ended_at=old)
    Alert.objects.filter(state="firing").update(fired_at=old, since=old)
    assert Alert.objects.forget_old() == 1
    assert Alert.objects.get().state == "firing"
    assert Delivery.objects.count() == 1


def _alarm() -> Any:
    from arcweb.alarms import find_alarm

    return find_alarm("test.gauge")
