"""The key browser and the page of one key, as people use them."""

from __future__ import annotations

import json
import os
import pickle
import re
import socket
import time
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from redis import Redis

from arcweb.events.models import Event
from cache_admin import codes
from cache_admin.keys import names
from tests.cache_admin.conftest import HURRIED
from tests.people import client_of

pytestmark = pytest.mark.django_db

LIST = "/redis/keys/"
SECRET = b"arcweb:1:django.contrib.sessions.cached_db" + b"abcdefghijklmnopqrstuvwxyz012345"


def address(key: bytes, what: str = "", role: str = "cache") -> str:
    return f"/redis/keys/{names.code_of(key)}/{what}{'/' if what else ''}?role={role}"


def text(answer: Any) -> str:
    """What the page says, without its tags."""
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", answer.content.decode())))


def events() -> list[str]:
    return list(Event.objects.filter(kind__startswith="redis.").order_by("id").values_list("kind", flat=True))


def digest(client: Client, url: str) -> str:
    found = re.search(r'name="read" value="([0-9a-f]{64})"', client.get(url).content.decode())
    assert found
    return found[1]


def test_the_browser_lists_and_filters(cache: Redis, state: Redis) -> None:
    cache.mset({f"user:{number}:profile": "x" for number in range(30)})
    cache.set("soon", 1, ex=30)
    cache.zadd("leaderboard", {"ada": 1})
    state.set("elsewhere", 1)
    client = client_of("viewer")
    page = client.get(LIST)
    assert page.status_code == 200
    # The 33rd is the session of the browser that asks.
    assert "33 keys, of 33 in this database" in text(page)
    assert "user: 30" in text(page)  # the tree of prefixes
    assert "elsewhere" not in text(page)
    assert "leaderboard" in text(client.get(LIST, {"type": "zset"}))
    assert "1 key that pass" in text(client.get(LIST, {"ttl": "minute"}))
    assert "soon" not in text(client.get(LIST, {"ttl": "none"}))
    assert "10 keys that pass" in text(client.get(LIST, {"match": "user:1?:*"}))
    assert "elsewhere" in text(client.get(LIST, {"role": "state"}))


def test_the_browser_pages_to_the_end(cache: Redis) -> None:
    cache.mset({f"key:{number}": "x" for number in range(1500)})
    client, url, seen = client_of("viewer"), LIST, set()
    for _ in range(400):  # fewer than forty, unless pages are cut short by their time
        page = client.get(url).content.decode()
        seen |= set(re.findall(r">(key:\d+)<", page))
        following = re.search(r'rel="next" href="([^"]+)"', page)
        if not following:
            break
        url = LIST + unescape(following[1])
    assert len(seen) == 1500


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("cursor=x", 404),
        ("cursor=-1", 404),
        (f"cursor={'9' * 20}", 404),
        (f"cursor={2**64 - 1}", 200),
        ("type=robot", 400),
        (f"match={'a' * 2000}", 400),
        ("match=%5B", 200),
        ("match=%00", 400),
    ],
)
def test_strange_addresses_are_answered_in_words(cache: Redis, query: str, status: int) -> None:
    assert client_of("viewer").get(f"{LIST}?{query}").status_code == status


def test_keys_of_sessions_are_masked_and_have_no_link(cache: Redis) -> None:
    cache.set(SECRET, "{}")
    cache.set("session:abc123", "{}")
    client = client_of("administrator")
    page = client.get(LIST).content.decode()
    assert "session:abc1…" in page
    assert SECRET.decode() not in page
    assert "abc123" not in page
    assert 'class="mono name"><a' not in page
    for key in (SECRET, b"session:abc123"):
        code = codes.encode(key)
        assert client.get(f"/redis/keys/{code}/").status_code == 404
        assert client.post(f"/redis/keys/{code}/delete/", {"typed": "delete"}).status_code == 404
    assert cache.exists(SECRET, "session:abc123") == 2
    asked = client.get(LIST, {"match": "session:abc123"}, follow=True)
    assert asked.redirect_chain
    assert "abc123" not in asked.redirect_chain[-1][0]
    assert "is a credential" in text(asked)
    for spelled in ("*cached_dbabcdefgh*", "*012345", "session:????2*"):
        assert "Nothing passes" in text(client.get(LIST, {"match": spelled})), spelled


def test_each_type_is_shown(cache: Redis) -> None:
    cache.set("user:123:profile", '{"name":"John"}', ex=3600)
    cache.hset("hash", mapping={"field": "hash value"})
    cache.rpush("list", "first", "second")
    cache.sadd("set", "only member")
    cache.zadd("zset", {"player1": 100, "player2": 150.5})
    cache.xadd("stream", {"temperature": "19"})
    cache.pfadd("visitors", *map(str, range(1000)))
    client = client_of("viewer")
    profile = text(client.get(address(b"user:123:profile")))
    assert '"name": "John"' in profile
    assert "it expires in 5" in profile or "it expires in 60 min" in profile
    assert "hash value" in text(client.get(address(b"hash")))
    assert "second" in text(client.get(address(b"list")))
    assert "only member" in text(client.get(address(b"set")))
    assert "2 150.5 player2" in text(client.get(address(b"zset")))
    assert "temperature=19" in text(client.get(address(b"stream")))
    visitors = text(client.get(address(b"visitors")))
    assert "A HyperLogLog" in visitors
    assert re.search(r"About (9[5-9]\d|1,0[0-4]\d) different", visitors)


@pytest.mark.parametrize("kind", ["list", "zset", "hash", "set", "stream"])
def test_collections_are_paged_to_their_end(cache: Redis, kind: str) -> None:
    for number in range(1000):
        word = f"element-{number:04d}"
        match kind:
            case "list":
                cache.rpush("many", word)
            case "zset":
                cache.zadd("many", {word: number})
            case "hash":
                cache.hset("many", word, "x")
            case "set":
                cache.sadd("many", word)
            case "stream":
                cache.xadd("many", {"what": word})
    client, url, seen, pages = client_of("viewer"), address(b"many"), set(), 0
    while url:
        page = client.get(url).content.decode()
        seen |= set(re.findall(r"element-\d{4}", page))
        following = re.search(r'rel="next" href="([^"]+)"', page)
        url = f"/redis/keys/{names.code_of(b'many')}/{unescape(following[1])}" if following else ""
        pages += 1
    assert len(seen) == 1000
    assert pages >= 8
    assert client.get(f"{address(b'many')}&place=nowhere").status_code == 404


NAMES = {
    "quotes": b'it\'s "quoted"',
    "newlines": b"line\nline\r\n",
    "html": b"<script>alert(1)</script>&amp;",
    "slash": b"../../etc/passwd?x=1#y",
    "binary": bytes(range(256)),
    "empty": b"",
    "ten kB": b"long:" + b"n" * 10_000,
    "unicode": "schlüssel:日本".encode(),
}


@pytest.mark.parametrize("name", NAMES)
def test_any_name_is_shown_edited_renamed_and_deleted(cache: Redis, name: str) -> None:
    key = NAMES[name]
    cache.set(key, "before")
    client = client_of("operator")
    listed = client.get(LIST)
    assert listed.status_code == 200
    assert b"<script>alert" not in listed.content
    link = re.search(r'class="mono name"><a href="([^"]+)"', listed.content.decode())
    assert link
    assert unescape(link[1]) == address(key)
    assert len(link[1]) < 4000
    assert client.get(link[1]).status_code == 200
    sent = {"value": "after", "read": digest(client, address(key))}
    assert client.post(address(key, "value"), sent).status_code == 302
    assert cache.get(key) == b"after"
    assert client.post(address(key, "expiry"), {"seconds": "77"}).status_code == 302
    assert 70 < cache.ttl(key) <= 77
    assert client.post(address(key, "rename"), {"name": "plain <b>"}).status_code == 302
    assert cache.get("plain <b>") == b"after"
    assert client.get(address(key)).status_code == 404
    assert client.post(address(b"plain <b>", "delete"), {"typed": "plain <b>"}).status_code == 302
    assert not cache.exists("plain <b>")
    assert events() == ["redis.key_edit", "redis.key_expire", "redis.key_rename", "redis.key_delete"]


def test_two_people_edit_one_key(cache: Redis) -> None:
    cache.set("shared", "as read", ex=500)
    ada, grace = client_of("operator"), client_of("operator")
    url = address(b"shared")
    of_ada, of_grace = digest(ada, url), digest(grace, url)
    assert ada.post(address(b"shared", "value"), {"value": "of Ada", "read": of_ada}).status_code == 302
    late = grace.post(address(b"shared", "value"), {"value": "of Grace", "read": of_grace})
    assert late.status_code == 409
    assert cache.get("shared") == b"of Ada"
    said = text(late)
    assert "Somebody else changed this value" in said
    assert "of Ada" in said
    assert "of Grace" in said
    again = re.search(r'name="read" value="([0-9a-f]{64})"', late.content.decode())
    assert again
    assert grace.post(address(b"shared", "value"), {"value": "of Grace", "read": again[1]}).status_code == 302
    assert cache.get("shared") == b"of Grace"
    assert 400 < cache.ttl("shared") <= 500
    assert events() == ["redis.key_edit", "redis.key_edit", "redis.key_conflict", "redis.key_edit"]


def test_a_value_that_became_another_type_is_a_conflict_or_gone(cache: Redis) -> None:
    cache.set("shape", "text")
    client = client_of("operator")
    read = digest(client, address(b"shape"))
    cache.delete("shape")
    cache.rpush("shape", "element")
    answer = client.post(address(b"shape", "value"), {"value": "typed", "read": read})
    assert answer.status_code == 409
    assert "typed" in text(answer)
    again = client.post(address(b"shape", "value"), {"value": "typed", "read": read, "anew": "1"})
    assert "Somebody made the key shape meanwhile" in text(again)
    assert cache.lrange("shape", 0, -1) == [b"element"]


def test_a_key_expires_while_it_is_open(cache: Redis) -> None:
    cache.set("brief", "x")
    client = client_of("operator")
    read = digest(client, address(b"brief"))
    cache.delete("brief")
    for what, sent in (
        ("value", {"value": "y", "read": read}),
        ("expiry", {"seconds": "5"}),
        ("expiry", {"persist": "1"}),
        ("rename", {"name": "other"}),
        ("delete", {"typed": "brief"}),
    ):
        answer = client.post(address(b"brief", what), sent)
        assert answer.status_code == (409 if what == "value" else 404), what
        assert "it expired, was deleted or renamed" in text(answer)
    assert client.get(address(b"brief")).status_code == 404
    assert client.get(address(b"brief", "download")).status_code == 404
    assert not cache.exists("brief", "other")
    assert events() == []


@pytest.mark.parametrize(("seconds", "least", "most"), [("", -1, -1), ("500", 400, 500)])
def test_what_was_typed_into_a_key_that_expired_makes_it_anew(
    cache: Redis, seconds: str, least: int, most: int
) -> None:
    cache.set("brief", "x", px=300_000)
    client = client_of("operator")
    sent = {"value": "two\nlines <b>", "read": digest(client, address(b"brief")), "lived": "299"}
    cache.delete("brief")
    offered = client.post(address(b"brief", "value"), sent)
    assert offered.status_code == 409
    assert "two\nlines &lt;b&gt;" in offered.content.decode()
    assert 'name="seconds" value="299"' in offered.content.decode()
    assert not cache.exists("brief")
    done = client.post(address(b"brief", "value"), {**sent, "anew": "1", "seconds": seconds})
    assert done.status_code == 302
    assert cache.get("brief") == b"two\nlines <b>"
    assert least <= cache.ttl("brief") <= most
    assert events() == ["redis.key_anew"]


def test_a_key_is_not_made_anew_over_that_of_another(cache: Redis) -> None:
    client = client_of("operator")
    sent = {"value": "mine", "read": "0" * 64, "anew": "1", "seconds": "x"}
    refused = client.post(address(b"taken", "value"), sent)
    assert refused.status_code == 400
    assert "mine" in text(refused)
    cache.set("taken", "theirs")
    late = client.post(address(b"taken", "value"), {**sent, "seconds": ""})
    assert late.status_code == 409
    assert "mine" in text(late)
    assert cache.get("taken") == b"theirs"


def test_an_edit_keeps_lines_and_the_expiry(cache: Redis) -> None:
    cache.set("poem", "one\ntwo\n", px=900_000)
    client = client_of("operator")
    read = digest(client, address(b"poem"))
    client.post(address(b"poem", "value"), {"value": "one\r\ntwo\r\nthree ", "read": read})
    assert cache.get("poem") == b"one\ntwo\nthree "
    assert cache.pttl("poem") > 800_000
    client.post(address(b"poem", "expiry"), {"persist": "1", "seconds": ""})
    assert cache.ttl("poem") == -1


@pytest.mark.parametrize("seconds", ["0", "-1", "x", "", "9" * 12])
def test_an_expiry_that_cannot_be(cache: Redis, seconds: str) -> None:
    cache.set("kept", "x")
    answer = client_of("operator").post(address(b"kept", "expiry"), {"seconds": seconds})
    assert answer.status_code == 400
    assert cache.ttl("kept") == -1


def test_a_rename_takes_no_name_from_another_and_makes_no_session(cache: Redis) -> None:
    cache.mset({"a": 1, "b": 2})
    client = client_of("operator")
    assert client.post(address(b"a", "rename"), {"name": "b"}).status_code == 409
    assert client.post(address(b"a", "rename"), {"name": "session:abc"}).status_code == 400
    assert client.post(address(b"a", "rename"), {"name": ""}).status_code == 400
    assert cache.mget("a", "b") == [b"1", b"2"]


def test_a_deletion_wants_the_name(cache: Redis) -> None:
    cache.set("a", 1)
    client = client_of("operator")
    assert "Nothing was deleted" in text(client.post(address(b"a", "delete"), {"typed": "b"}, follow=True))
    assert cache.exists("a")
    assert events() == []


def test_a_large_value_is_previewed_and_downloaded_whole(cache: Redis) -> None:
    raw = os.urandom(1024) * (12 * 1024)
    cache.set("large", raw)
    client = client_of("viewer")
    page = client.get(address(b"large"))
    assert page.status_code == 200
    assert len(page.content) < 150_000
    assert "The first 64 kB of 12 MB" in text(page)
    file = client.get(address(b"large", "download"))
    assert file.headers["Content-Disposition"] == 'attachment; filename="large.bin"'
    assert file.headers["Content-Type"] == "application/octet-stream"
    assert b"".join(file.streaming_content) == raw  # type: ignore[attr-defined]


def test_a_download_that_changes_meanwhile_breaks_off(cache: Redis) -> None:
    cache.set("large", b"x" * 1_000_000)
    file = client_of("operator").get(address(b"large", "download"))
    pieces = iter(file.streaming_content)  # type: ignore[attr-defined]
    next(pieces)
    cache.append("large", "y")
    with pytest.raises(Exception, match="changed while it was downloaded"):
        list(pieces)


def test_the_name_of_a_download_is_safe(cache: Redis) -> None:
    key = b'a"; filename="evil.exe\r\nX: y/../z'
    cache.set(key, "x")
    header = client_of("operator").get(address(key, "download")).headers["Content-Disposition"]
    assert re.fullmatch(r'attachment; filename="[A-Za-z0-9._-]+\.bin"', header)


def test_a_pickle_of_django_is_named_and_never_loaded(cache: Redis, tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[object, ...]:
            return os.system, (f"touch {tmp_path}/ran",)

    cache.set("arcweb:1:cached", pickle.dumps(Bomb()))
    page = text(client_of("operator").get(address(b"arcweb:1:cached")))
    assert "A Python pickle: not decoded" in page
    assert "posix.system" in page
    assert not (tmp_path / "ran").exists()


def test_a_value_of_the_cache_is_decoded(cache: Redis) -> None:
    from django.core.cache import cache as django

    django.set("report", {"rows": [1, 2], "name": "<b>Ada</b>"})
    page = client_of("viewer").get(address(b"arcweb:1:report"))
    assert json.dumps("<b>Ada</b>") in unescape(page.content.decode())
    assert b"<b>Ada" not in page.content


def test_who_may_what(cache: Redis) -> None:
    cache.set("a", "x")
    code = names.code_of(b"a")
    wanted = {
        "redis_keys": {"viewer", "operator", "administrator"},
        "redis_key": {"viewer", "operator", "administrator"},
        "redis_bigkeys": {"viewer", "operator", "administrator"},
        "redis_delete_keys": {"operator", "administrator"},
    }
    for name, roles in wanted.items():
        url = reverse(f"admin:{name}", args=[code] if name == "redis_key" else [])
        allowed = {
            role
            for role in ("", "viewer", "operator", "administrator")
            if client_of(role).get(url).status_code == 200
        }
        assert allowed == roles, name
    viewer = client_of("viewer")
    for what in ("value", "expiry", "rename", "delete", "element"):
        assert (
            viewer.post(address(b"a", what), {"typed": "a", "seconds": "5", "name": "b"}).status_code == 403
        )
        assert client_of("operator").get(address(b"a", what)).status_code == 405
    assert viewer.post("/redis/bigkeys/").status_code == 403
    assert "Delete this key" not in text(viewer.get(address(b"a")))
    assert cache.get("a") == b"x"


def test_the_number_of_queries_does_not_grow(cache: Redis, django_assert_max_num_queries: Any) -> None:
    client = client_of("viewer")
    client.get(LIST)
    counts = []
    for keys in (10, 1000):
        cache.mset({f"k:{number}": 1 for number in range(keys)})
        with django_assert_max_num_queries(6) as captured:
            client.get(LIST)
        counts.append(len(captured))
    assert counts[0] == counts[1]


def test_a_server_that_is_away_or_silent_is_told_in_time(cache: Redis, settings: Any) -> None:
    cache.set("a", "x")
    client = client_of("operator")
    client.get(LIST)
    settings.ARC_REDIS_TIMEOUT = HURRIED
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes connections and says nothing
        for url, words in (
            ("redis://127.0.0.1:1/0", "cannot be reached"),
            (f"redis://127.0.0.1:{silent.getsockname()[1]}/0", "did not answer in time"),
        ):
            settings.REDIS_URL = url
            for address_, sent in (
                (LIST, None),
                (address(b"a"), None),
                (address(b"a", "expiry"), {"seconds": "9"}),
            ):
                started = time.monotonic()
                answer = client.get(address_) if sent is None else client.post(address_, sent)
                assert answer.status_code == 503
                assert words in text(answer)
                # The timeout is 0.5 s, the rest a busy machine's; the silent one is so for ever.
                assert time.monotonic() - started < 40
    assert events() == []
