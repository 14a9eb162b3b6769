"""The page Clients, and the end of a connection."""

from __future__ import annotations

import pytest
from redis import Redis

from arcweb.celery import app
from arcweb.events.models import Event
from cache_admin.connections import client
from cache_admin.traffic import clients
from tests.people import client_of

pytestmark = pytest.mark.django_db
PAGE = "/redis/clients/"


def test_the_list_says_who_is_there_and_what_ours_are(cache: Redis) -> None:
    cache.ping()
    browser = client_of("operator")
    said = browser.get(PAGE).content.decode()
    assert "somebody" in said
    assert "this page" in said
    assert "pages of this control room" in said
    ours = browser.get(PAGE, {"kind": "ours", "order": "memory"}).content.decode()
    assert "arcweb-admin" in ours
    assert "somebody" not in ours
    assert "No client is like that." in browser.get(PAGE, {"q": "nobody at all"}).content.decode()


def test_a_blocked_client_is_flagged(cache: Redis) -> None:
    with client("cache", client_name="waiter") as other:
        connection = other.connection_pool.get_connection()
        connection.send_command("BLPOP", "nothing:here", 0)  # until it is disconnected
        said = client_of("viewer").get(PAGE, {"kind": "blocked"}).content.decode()
        assert "waiter" in said
        assert "waits for a blocking command" in said
        connection.disconnect()


def test_a_connection_is_ended_by_its_typed_id_with_an_event_before(cache: Redis) -> None:
    number = cache.client_id()
    browser = client_of("operator")
    address = f"{PAGE}{number}/kill/?role=cache"
    asked = browser.get(address).content.decode()
    assert "somebody" in asked
    browser.post(address, {"typed": "yes"})
    assert cache.client_id() == number
    assert not Event.objects.filter(kind="redis.client_killed").exists()
    browser.post(address, {"typed": str(number)})
    assert cache.client_id() != number  # redis-py has connected anew
    event = Event.objects.get(kind="redis.client_killed")
    assert event.data["id"] == number
    assert (
        f"ended the connection {number} (somebody)"
        in client_of("administrator").get("/events/").content.decode()
    )
    assert browser.get(address).status_code == 404


def test_what_an_end_breaks_is_said_of_our_own(cache: Redis) -> None:
    cache.client_setname("arcweb-cache")
    said = client_of("operator").get(f"{PAGE}{cache.client_id()}/kill/").content.decode()
    assert "Nobody is logged out" in said


def test_the_connection_that_asks_is_neither_offered_nor_ended(cache: Redis) -> None:
    with cache.client() as own:
        number = own.client_id()
        assert not clients.kill(own, number)
        assert own.client_id() == number
    page = client_of("operator").get(PAGE).content.decode()
    shown = [row for row in page.split("<tr")[1:] if "this page" in row]
    assert len(shown) == 1
    assert "/kill/" not in shown[0]


def test_who_may_not_is_refused(cache: Redis) -> None:
    address = f"{PAGE}{cache.client_id()}/kill/"
    viewer = client_of("viewer")
    assert viewer.get(PAGE).status_code == 200
    assert "/kill/" not in viewer.get(PAGE).content.decode()
    assert viewer.post(address, {"typed": str(cache.client_id())}).status_code == 403
    assert client_of("").get(PAGE).status_code == 403
    assert viewer.get(PAGE, {"order": "odd"}).status_code == 400
    assert client_of("operator").get(f"{PAGE}{'9' * 40}/kill/").status_code == 404


def test_a_name_of_ten_thousand_characters(cache: Redis) -> None:
    cache.client_setname("<script>" + "n" * 10_000)
    said = client_of("viewer").get(PAGE).content.decode()
    assert "&lt;script&gt;nnnn" in said
    assert "n" * 200 not in said


def test_fields_with_spaces_and_unknown_flags() -> None:
    [one, three, two] = clients.parse(
        b"id=3 addr=/a path/with spaces/x.sock:0 laddr=/a path:0 name= age=9 idle=2 flags=bz db=1 "
        b"tot-mem=2048 cmd=client|list user=default lib-name=redis-py lib-ver=8.1.0\n"
        b"id=5 addr=[/tmp/x.sock:0]:0 name= flags=NU\n"
        b"id=4 addr=[::1]:99 name=x age=100000 idle=5 flags=N db=0 cmd=get\n",
        own=4,
    )
    assert one.address == "/a path/with spaces/x.sock:0"
    assert (one.command, one.space, one.blocked, one.library) == (
        "client list",
        "2 kB",
        True,
        "redis-py 8.1.0",
    )
    assert one.flags_in_words == ["waits for a blocking command", "flag z"]
    assert (three.address, three.flags_in_words) == ("Unix socket", [])
    assert (two.address, two.own, two.space, two.flags_in_words) == ("[::1]:99", True, "unknown", [])


def test_lines_to_the_queues_have_their_name(state: Redis) -> None:
    with app.connection_for_write() as connection:
        connection.default_channel.client.ping()
        assert "arcweb-celery" in {client.name for client in clients.listed(state)}


def test_queries_do_not_grow(django_assert_num_queries: object) -> None:
    browser = client_of("operator")
    others = [client("cache", client_name="crowd") for _ in range(20)]
    for other in others:
        other.ping()
    with django_assert_num_queries(3):  # type: ignore[operator]
        browser.get(PAGE)
    for other in others:
        other.close()
