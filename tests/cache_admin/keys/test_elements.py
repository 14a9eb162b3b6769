"""One element of a collection: set, added, removed; by whom, and against whom."""

from __future__ import annotations

import re
from html import unescape
from typing import Any

import pytest
from django.test import Client
from redis import Redis
from redis.exceptions import ResponseError

from cache_admin.keys import elements, escapes
from tests.cache_admin.keys.test_pages import address, events, text
from tests.people import client_of

pytestmark = pytest.mark.django_db
KEY = b"things"


def edit_link(client: Client, name: str) -> str:
    """Where the element of that name is changed."""
    page = client.get(address(KEY)).content.decode()
    found = re.search(rf'href="([^"]+)"\s+aria-label="Change or remove {re.escape(name)}"', page)
    assert found, page
    return f"{address(KEY).partition('?')[0]}{unescape(found[1]).partition('#')[0]}"


def form(client: Client, url: str, do: str = "set") -> dict[str, str]:
    """The hidden fields of the form that does that."""
    page = client.get(url).content.decode()
    for one in re.findall(r'<form method="post" action="[^"]*/element/.*?</form>', page, re.DOTALL):
        sent = dict(re.findall(r'name="(\w+)" value="([^"]*)"', one))
        if sent["do"] == do:
            return {name: unescape(value) for name, value in sent.items()}
    raise AssertionError(page)


def post(client: Client, sent: dict[str, Any]) -> Any:
    return client.post(address(KEY, "element"), sent)


def test_a_field_of_a_hash(cache: Redis) -> None:
    cache.hset(KEY, mapping={"name": "John", "age": "7"})
    cache.expire(KEY, 500)
    client = client_of("operator")
    sent = form(client, edit_link(client, "name"))
    assert post(client, {**sent, "value": "Ada\nLovelace"}).status_code == 302
    assert cache.hget(KEY, "name") == b"Ada\nLovelace"
    added = {"kind": "hash", "do": "add", "field": "city", "value": ""}
    assert post(client, added).status_code == 302
    assert cache.hget(KEY, "city") == b""
    removed = form(client, edit_link(client, "age"), "remove")
    assert post(client, removed).status_code == 302
    assert cache.hkeys(KEY) == [b"name", b"city"]
    assert 400 < cache.ttl(KEY) <= 500
    assert events() == ["redis.element_set", "redis.element_add", "redis.element_remove"]


def test_an_expiry_of_a_field_stays(cache: Redis) -> None:
    cache.hset(KEY, "brief", "x")
    try:
        cache.execute_command("HPEXPIRE", KEY, 500_000, "FIELDS", 1, "brief")
    except ResponseError:
        pytest.skip("this server knows no expiry of fields")
    client = client_of("operator")
    post(client, {**form(client, edit_link(client, "brief")), "value": "y"})
    assert cache.hget(KEY, "brief") == b"y"
    [left] = cache.execute_command("HPTTL", KEY, "FIELDS", 1, "brief")
    assert 400_000 < left <= 500_000


def test_an_element_of_a_list(cache: Redis) -> None:
    cache.rpush(KEY, *"abacad")
    cache.expire(KEY, 500)
    client = client_of("operator")
    assert post(client, {**form(client, edit_link(client, "1")), "value": "B"}).status_code == 302
    assert post(client, form(client, edit_link(client, "4"), "remove")).status_code == 302
    for end, value in (("first", "0"), ("last", "9")):
        sent = {"kind": "list", "do": "add", "value": value, "end": end}
        assert post(client, sent).status_code == 302
    assert cache.lrange(KEY, 0, -1) == [b"0", b"a", b"B", b"a", b"c", b"d", b"9"]
    assert 400 < cache.ttl(KEY) <= 500


def test_a_member_of_a_set(cache: Redis) -> None:
    cache.sadd(KEY, "one", "two")
    client = client_of("operator")
    assert post(client, {"kind": "set", "do": "add", "member": "three"}).status_code == 302
    again = post(client, {"kind": "set", "do": "add", "member": "three"})
    assert again.status_code == 409
    assert "It is a member already." in text(again)
    assert post(client, form(client, edit_link(client, "one"), "remove")).status_code == 302
    assert cache.smembers(KEY) == {b"two", b"three"}


def test_a_member_of_a_sorted_set(cache: Redis) -> None:
    cache.zadd(KEY, {"player1": 100, "player2": 0.1})
    client = client_of("operator")
    for score in ("x", "nan", ""):
        sent = {**form(client, edit_link(client, "2")), "score": score}
        assert post(client, sent).status_code == 400
    assert post(client, {**form(client, edit_link(client, "2")), "score": "1e20"}).status_code == 302
    added = {"kind": "zset", "do": "add", "member": "player3", "score": "-inf"}
    assert post(client, added).status_code == 302
    assert post(client, form(client, edit_link(client, "2"), "remove")).status_code == 302
    assert cache.zrange(KEY, 0, -1, withscores=True) == [(b"player3", float("-inf")), (b"player1", 1e20)]


def test_an_entry_of_a_stream(cache: Redis) -> None:
    first = cache.xadd(KEY, {"temperature": "19"}).decode()  # type: ignore[union-attr]
    client = client_of("operator")
    sent = {"kind": "stream", "do": "add", "pairs": "temperature=20\r\nplace=a=b"}
    assert post(client, sent).status_code == 302
    assert post(client, {**sent, "pairs": "no pair"}).status_code == 400
    assert post(client, form(client, edit_link(client, first), "remove")).status_code == 302
    [(_, fields)] = cache.xrange(KEY)  # type: ignore[misc]
    assert fields == {b"temperature": b"20", b"place": b"a=b"}


@pytest.mark.parametrize("kind", ["hash", "set", "zset"])
def test_a_binary_member_is_typed_with_escapes(cache: Redis, kind: str) -> None:
    raw = b"\xff\x00\\n\n\xc3\xa4 end"
    shown = escapes.written(raw)
    assert shown == r"\xff\x00\\n\nä end"
    assert escapes.read(shown, escaped=True) == raw
    client = client_of("operator")
    match kind:
        case "hash":
            cache.hset(KEY, "a", "1")
            sent = {"field": shown, "value": shown}
        case "set":
            cache.sadd(KEY, "a")
            sent = {"member": shown}
        case "zset":
            cache.zadd(KEY, {"a": 1})
            sent = {"member": shown, "score": "5"}
    wrong = post(
        client, {"kind": kind, "do": "add", **sent, "escaped": "on", "member": "\\q", "field": "\\q"}
    )
    assert wrong.status_code == 400
    assert "begins none of" in text(wrong)
    assert post(client, {"kind": kind, "do": "add", **sent, "escaped": "on"}).status_code == 302
    found = {"hash": cache.hkeys, "set": cache.smembers, "zset": lambda key: cache.zrange(key, 0, -1)}[kind]
    assert raw in found(KEY)
    url = f"{address(KEY)}&edit={elements.code_of(raw)}"
    page = client.get(url)
    assert page.status_code == 200
    if kind == "hash":
        assert "checked" in page.content.decode()
        assert post(client, {**form(client, url), "value": r"\x01\\", "escaped": "on"}).status_code == 302
        assert cache.hget(KEY, raw) == b"\x01\\"
    assert post(client, form(client, url, "remove")).status_code == 302
    assert raw not in found(KEY)


@pytest.mark.parametrize("kind", ["hash", "list", "zset"])
def test_two_people_change_one_element(cache: Redis, kind: str) -> None:
    match kind:
        case "hash":
            cache.hset(KEY, "0", "as read")
        case "list":
            cache.rpush(KEY, "as read")
        case "zset":
            cache.zadd(KEY, {"0": 1})
    ada, grace = client_of("operator"), client_of("operator")
    link = edit_link(ada, "1" if kind == "zset" else "0")
    field, of_ada, of_grace = ("score", "2", "3") if kind == "zset" else ("value", "of Ada", "of Grace")
    seen, removal = form(grace, link), form(grace, link, "remove")
    assert post(ada, {**form(ada, link), field: of_ada}).status_code == 302
    late = post(grace, {**seen, field: of_grace})
    assert late.status_code == 409
    assert "Somebody else has written it meanwhile" in text(late)
    assert of_ada in text(late)
    assert of_grace in late.content.decode()
    unremoved = text(grace.post(address(KEY, "element"), removal, follow=True))
    assert "Nothing was removed" in unremoved
    again = dict(
        re.findall(r'name="(\w+)" value="([^"]*)"', late.content.decode().partition('id="element"')[2])
    )
    assert post(grace, {**seen, "read": again["read"], field: of_grace}).status_code == 302
    held = {"hash": lambda: cache.hget(KEY, "0"), "list": lambda: cache.lindex(KEY, 0)}
    assert cache.zscore(KEY, "0") == 3 if kind == "zset" else held[kind]() == b"of Grace"


def test_a_field_that_is_there_is_not_added_over(cache: Redis) -> None:
    cache.hset(KEY, "name", "John")
    client = client_of("operator")
    answer = post(client, {"kind": "hash", "do": "add", "field": "name", "value": "Ada"})
    assert answer.status_code == 409
    assert "John" in text(answer)
    assert "Ada" in answer.content.decode()
    assert cache.hget(KEY, "name") == b"John"


def test_an_element_that_somebody_removed(cache: Redis) -> None:
    cache.hset(KEY, mapping={"name": "John", "age": "7"})
    client = client_of("operator")
    link = edit_link(client, "name")
    sent, removal = form(client, link), form(client, link, "remove")
    cache.hdel(KEY, "name")
    assert "is not there any more" in text(client.get(link))
    late = post(client, {**sent, "value": "Ada"})
    assert late.status_code == 409
    assert "somebody removed it" in text(late)
    assert "had been removed by somebody else" in text(
        client.post(address(KEY, "element"), removal, follow=True)
    )
    assert post(client, {**sent, "read": "", "value": "Ada"}).status_code == 302
    assert cache.hget(KEY, "name") == b"Ada"


@pytest.mark.parametrize("kind", elements.KINDS)
def test_a_key_that_expired_is_made_anew_with_what_was_typed(cache: Redis, kind: str) -> None:
    sent: dict[str, Any] = {"kind": kind, "do": "add", "lived": "77"} | {
        "hash": {"field": "f", "value": "v"},
        "list": {"value": "v", "end": "last"},
        "set": {"member": "v"},
        "zset": {"member": "v", "score": "1"},
        "stream": {"pairs": "f=v"},
    }[kind]
    client = client_of("operator")
    offered = post(client, sent)
    assert offered.status_code == 409
    assert "What you typed stands below" in text(offered)
    assert 'value="77"' in offered.content.decode()
    assert not cache.exists(KEY)
    assert events() == []
    assert post(client, {**sent, "anew": "1", "seconds": "600"}).status_code == 302
    assert cache.type(KEY) == {"zset": b"zset"}.get(kind, kind.encode())
    assert 500 < cache.ttl(KEY) <= 600
    late = post(client, {**sent, "anew": "1", "seconds": ""})
    assert late.status_code == 409
    assert "Somebody made the key" in text(late)


def test_a_change_of_an_element_survives_the_expiry_of_its_key(cache: Redis) -> None:
    cache.rpush(KEY, "a", "b")
    client = client_of("operator")
    sent = form(client, edit_link(client, "1"))
    cache.delete(KEY)
    assert post(client, {**sent, "value": "typed"}).status_code == 409
    assert post(client, {**sent, "value": "typed", "anew": "1", "seconds": ""}).status_code == 302
    assert cache.lrange(KEY, 0, -1) == [b"typed"]
    assert cache.ttl(KEY) == -1


def test_the_last_element_takes_its_key_along(cache: Redis) -> None:
    cache.sadd(KEY, "alone")
    client = client_of("operator")
    removal = form(client, edit_link(client, "alone"), "remove")
    assert "the key things is gone with it" in text(
        client.post(address(KEY, "element"), removal, follow=True)
    )


def test_a_key_of_another_type_is_not_written_to(cache: Redis) -> None:
    cache.set(KEY, "string")
    client = client_of("operator")
    answer = post(client, {"kind": "set", "do": "add", "member": "typed"})
    assert answer.status_code == 409
    assert "typed" in answer.content.decode()
    assert cache.get(KEY) == b"string"


def test_names_of_sessions_are_not_written_and_not_shown(cache: Redis) -> None:
    cache.sadd(KEY, "session:abcdefghijkl")
    client = client_of("administrator")
    page = client.get(address(KEY)).content.decode()
    assert "session:abcd…" in page
    assert "abcdefghijkl" not in page
    refused = post(client, {"kind": "set", "do": "add", "member": "session:abcdefghijkl"})
    assert refused.status_code == 400


@pytest.mark.parametrize(
    "sent",
    [
        {},
        {"kind": "hash"},
        {"kind": "string", "do": "set"},
        {"kind": "hash", "do": "set", "code": "x"},
        {"kind": "list", "do": "remove", "code": "-1"},
        {"kind": "stream", "do": "remove", "code": "1"},
        {"kind": "stream", "do": "remove", "code": f"{2**64}-1"},
        {"kind": "stream", "do": "set", "code": "1-1"},
        {"kind": "set", "do": "set", "code": "_YQ"},
    ],
)
def test_a_damaged_form_changes_nothing(cache: Redis, sent: dict[str, str]) -> None:
    cache.hset(KEY, "a", "1")
    assert post(client_of("operator"), sent).status_code == 400
    assert cache.hgetall(KEY) == {b"a": b"1"}


@pytest.mark.parametrize("kind", elements.KINDS)
def test_an_element_is_found_by_its_name(cache: Redis, kind: str) -> None:
    with cache.pipeline() as pipe:
        for number in range(500):
            match kind:
                case "hash":
                    pipe.hset(KEY, f"f{number}", f"held {number}")
                case "list":
                    pipe.rpush(KEY, f"held {number}")
                case "set":
                    pipe.sadd(KEY, f"held {number}")
                case "zset":
                    pipe.zadd(KEY, {f"held {number}": number})
                case "stream":
                    pipe.xadd(KEY, {"what": f"held {number}"}, id=f"{number + 1}-0")
        pipe.execute()
    sought = {"hash": "f444", "list": "444", "stream": "445-0"}.get(kind, "held 444")
    client = client_of("viewer")
    page = text(client.get(address(KEY), {"role": "cache", "find": sought}))
    assert "held 444" in page
    assert "held 443" not in page
    assert "There is none of that name" in text(client.get(address(KEY), {"role": "cache", "find": "999-9"}))


def test_places_that_no_server_has(cache: Redis) -> None:
    cache.xadd("stream", {"a": "b"})
    cache.rpush("list", "a", "b", "c")
    client = client_of("operator")
    for place in ("²-0", f"{2**64}-0", f"0-{2**64}", f"{2**64 - 1}-{2**64 - 1}"):
        assert client.get(address(b"stream"), {"role": "cache", "place": place}).status_code == 404
        assert client.get(address(b"stream", "now"), {"last": "0", "place": place}).status_code == 400
    past = {"role": "cache", "find": f"{2**64}-0"}
    assert "There is none of that name" in text(client.get(address(b"stream"), past))
    assert client.get(address(b"stream"), {"role": "cache", "edit": f"{2**64}-0"}).status_code == 404
    found = client.get(address(b"list"), {"role": "cache", "find": "-4"})
    assert "There is none of that name" in text(found)  # and not the last


def test_a_sessions_key_does_not_stay_in_the_address(cache: Redis) -> None:
    cache.sadd(KEY, "one")
    asked = client_of("viewer").get(
        address(KEY), {"role": "cache", "find": "session:abcdefghijkl"}, follow=True
    )
    assert asked.redirect_chain
    assert "abcdefghijkl" not in asked.redirect_chain[-1][0] + asked.content.decode()


def test_a_hyperloglog_is_not_edited(cache: Redis) -> None:
    cache.pfadd(KEY, "a")
    page = client_of("operator").get(address(KEY))
    assert "A HyperLogLog is not edited" in text(page)
    assert b'id="edit"' not in page.content


def test_a_viewer_is_offered_no_change(cache: Redis) -> None:
    cache.hset(KEY, "a", "1")
    page = client_of("viewer").get(f"{address(KEY)}&edit={elements.code_of(b'a')}").content.decode()
    assert "Change or remove" not in page
    assert "/element/" not in page
