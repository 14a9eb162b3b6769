"""The page Live, as a browser without JavaScript and as htmx ask for it."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import pytest
from django.test import Client
from redis import Redis

from arcweb.events.models import Event
from cache_admin.traffic import leases
from tests.cache_admin.traffic.conftest import named
from tests.people import client_of, make_user
from tests.waiting import until

pytestmark = pytest.mark.django_db
PAGE = "/redis/live/"


def start(browser: Client, what: str, **values: str) -> str:
    """The token of the lease."""
    response = browser.post(f"{PAGE}{what}/?role=cache", {"seconds": "30", **values})
    assert response.status_code == 302
    return parse_qs(urlsplit(response["Location"]).query)["lease"][0]


def test_a_lease_from_its_start_to_its_end(cache: Redis) -> None:
    browser = client_of("operator")
    assert "about halves its throughput" in browser.get(PAGE).content.decode()
    token = start(browser, "monitor")
    assert Event.objects.get(kind="redis.monitored").data == {"role": "cache", "seconds": 30}
    cache.get("<b>look</b>")
    lease = leases.running()[0]
    until(lambda: any("look" in line.text for line in lease.lines))
    page = browser.get(PAGE, {"lease": token}).content.decode()
    assert "&lt;b&gt;look" in page
    assert f"/redis/live/lease/{token}/?after=" in page
    after = lease.lines[-1].number
    cache.get("second")
    until(lambda: any("second" in line.text for line in lease.lines))
    piece = browser.get(
        f"{PAGE}lease/{token}/?after={after}", headers={"HX-Request": "true"}
    ).content.decode()
    assert "GET second" in piece
    assert "look" not in piece
    assert "<html" not in piece
    browser.post(f"{PAGE}lease/{token}/stop/")
    until(lambda: named(cache, "arcweb-monitor") == 0 and lease.ended)
    piece = browser.get(f"{PAGE}lease/{token}/", headers={"HX-Request": "true"}).content.decode()
    assert "It was stopped. The connection is closed." in piece
    assert "hx-get" not in piece
    assert "What came stays below" in piece


def test_a_second_monitor_is_refused_in_words(cache: Redis) -> None:
    start(client_of("operator"), "monitor")
    other = client_of("operator")
    said = other.post(f"{PAGE}monitor/?role=cache", {"seconds": "10"}, follow=True).content.decode()
    assert "Somebody watches the commands of this server already" in said
    assert Event.objects.filter(kind="redis.monitored").count() == 1
    said = other.post(f"{PAGE}monitor/?role=cache", {"seconds": "-1"}, follow=True).content.decode()
    assert "10, 20 or 30 seconds" in said


def test_messages_and_channels(cache: Redis) -> None:
    browser = client_of("operator")
    token = start(browser, "subscribe", pattern="test:*")
    with cache.pubsub() as somebody:
        somebody.subscribe("test:room")
        until(lambda: cache.pubsub_numsub("test:room")[0][1] == 1)
        page = browser.get(PAGE).content.decode()
        assert "test:room" in page
        said = browser.post(
            f"{PAGE}publish/?role=cache", {"channel": "test:room", "message": "hello there"}, follow=True
        ).content.decode()
    assert "2 received the message on test:room" in said
    event = Event.objects.get(kind="redis.published")
    assert event.data == {"role": "cache", "bytes": 11}
    [lease] = leases.running()
    until(lambda: lease.lines)
    assert "hello there" in browser.get(PAGE, {"lease": token}).content.decode()


@pytest.mark.parametrize(
    ("channel", "message", "why"),
    [
        ("arcweb:celery:/0.celery.pidbox", "x", "Celery"),
        ("__keyspace@0__:a", "x", "Only the server itself"),
        ("", "x", "Name the channel"),
        ("c" * 600, "x", "longer than 512"),
        ("c", "m" * 5000, "4,096 is the most"),
    ],
)
def test_what_may_not_be_published(channel: str, message: str, why: str) -> None:
    browser = client_of("operator")
    said = browser.post(f"{PAGE}publish/?role=state", {"channel": channel, "message": message}, follow=True)
    assert why in said.content.decode()
    assert not Event.objects.filter(kind="redis.published").exists()


def test_who_may_not_and_what_is_not_there() -> None:
    viewer = client_of("viewer")
    assert viewer.get(PAGE).status_code == 403
    for what in ("monitor", "subscribe", "publish"):
        assert viewer.post(f"{PAGE}{what}/").status_code == 403
        assert client_of("operator").get(f"{PAGE}{what}/").status_code == 405
    owner, other = client_of("operator"), client_of("operator")
    token = start(owner, "subscribe")
    assert other.get(f"{PAGE}lease/{token}/").status_code == 404
    assert other.post(f"{PAGE}lease/{token}/stop/").status_code == 404
    gone = owner.get(f"{PAGE}lease/unknown/", headers={"HX-Request": "true"})
    assert "Start another" in gone.content.decode()
    assert "ended a while ago" in owner.get(PAGE, {"lease": "unknown"}).content.decode()
    assert owner.get(f"{PAGE}lease/{token}/?after=99999999999").status_code == 200


def test_a_pattern_that_cannot_be_and_a_form_without_one() -> None:
    browser = client_of(make_user("operator"))
    said = browser.post(f"{PAGE}subscribe/?role=cache", {"seconds": "10", "pattern": "p" * 300}, follow=True)
    assert "shorter than 256 bytes" in said.content.decode()
    start(browser, "subscribe")
