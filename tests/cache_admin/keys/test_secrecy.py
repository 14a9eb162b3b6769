"""What a viewer does not read of a value, on the page of its key and in its download."""

from __future__ import annotations

import base64
import hashlib
import json
import pickle
import re
from typing import Any

import pytest
from django.conf import settings
from redis import Redis

from cache_admin.keys import values
from cache_admin.keys.secrecy import Rule, says_secret
from tests.cache_admin.keys.test_pages import address, text
from tests.people import client_of

pytestmark = pytest.mark.django_db
PREFIX = settings.CELERY_BROKER_TRANSPORT_OPTIONS["global_keyprefix"]
ARGUMENT = "the diary of Ada"


def message(**more: Any) -> str:
    """As kombu keeps it."""
    body = base64.b64encode(json.dumps([[ARGUMENT], {"note": ARGUMENT}, {}]).encode()).decode()
    headers = {"task": "memories.tasks.embed", "id": "0d0e0b0c-1111-2222-3333-444455556666", **more}
    return json.dumps(
        {"body": body, "headers": headers, "properties": {}, "content-type": "application/json"}
    )


def everything(cache: Redis, key: bytes, role: str) -> str:
    """The page and the file, and their sources: base64 of the argument counts as the argument."""
    client = client_of(role)
    page = client.get(address(key))
    assert page.status_code == 200
    file = client.get(address(key, "download"))
    whole = text(page) + page.content.decode()
    if file.status_code == 200:
        whole += b"".join(file.streaming_content).decode("latin-1")  # type: ignore[attr-defined]
    return whole


def told(whole: str) -> bool:
    return ARGUMENT in whole or base64.b64encode(b'[["the diary of').decode() in whole


@pytest.mark.parametrize("where", ["queue", "priority", "unacked", "renamed", "field"])
def test_messages_of_celery_are_masked(cache: Redis, where: str) -> None:
    key = {
        "queue": f"{PREFIX}celery",
        "priority": f"{PREFIX}quick\x06\x163",
        "unacked": f"{PREFIX}unacked",
        "renamed": "kept for later",
        "field": "a hash of mine",
    }[where].encode()
    if where in ("unacked", "field"):
        held = json.dumps([json.loads(message()), "celery", "celery"]) if where == "unacked" else message()
        cache.hset(key, "tag", held)
    else:
        cache.rpush(key, message())
    seen = everything(cache, key, "viewer")
    assert not told(seen)
    assert "memories.tasks.embed" in seen
    assert "text, 16 characters" in seen
    assert told(everything(cache, key, "operator"))


def test_a_message_that_cannot_be_read_is_masked_too(cache: Redis) -> None:
    key = f"{PREFIX}celery".encode()
    cache.rpush(key, f"torn {ARGUMENT}", message() + "x" * 100_000)
    assert ARGUMENT not in everything(cache, key, "viewer")


SECRETS: dict[str, tuple[bytes, str | bytes]] = {
    "the key": (b"user:7:password", "hunter22"),
    "JSON": (b"profile", json.dumps({"name": "Ada", "apiKey": "hunter22", "in": [{"pwd": "hunter22"}]})),
    "JSON cut off": (b"big", json.dumps({"password": "hunter22", "rest": "x" * 70_000})),
    "an address": (b"where", "postgres://ada:hunter22@db/arc"),
    "a query": (b"query", "name=Ada&access_token=hunter22&x=1"),
    "a session": (b"note", "key session:hunter22hunter22 of Ada"),
    "JSON in JSON": (b"body", json.dumps({"payload": json.dumps({"password": "hunter22"})})),
    "JSON in a string": (b"body", json.dumps(json.dumps({"password": "hunter22"}))),
    "JSON behind a mark": (b"body", b"\xef\xbb\xbf" + json.dumps({"password": "hunter22"}).encode()),
    "pairs": (b"body", json.dumps({"headers": [["authorization", "hunter22"]]})),
    "a name beside": (b"body", json.dumps([{"name": "password", "value": "hunter22"}])),
    "half a character": (b"body", b'{"password": "hunter22", "said": "\\ud800"}'),
    "a header": (b"head", "Host: here\nAuthorization: Bearer hunter22\n"),
    "YAML": (b"conf", "user: ada\npassword: hunter22\n"),
    "Python": (b"conf", "{'password': 'hunter22'}"),
    "a setting with spaces": (b"conf", 'PASSWORD="my hunter22"'),
    "a pickle": (b"pickled", pickle.dumps({"password": "hunter22"})),
}


@pytest.mark.parametrize("name", SECRETS)
def test_secrets_in_a_string_are_masked(cache: Redis, name: str) -> None:
    key, value = SECRETS[name]
    cache.set(key, value)
    seen = everything(cache, key, "viewer").replace("hunt…", "")
    assert "hunter22" not in seen
    assert b"hunter22".hex(" ") not in seen
    assert client_of("viewer").get(address(key, "download")).status_code == 403
    assert "hunter22" in everything(cache, key, "operator")


def between_pieces() -> bytes:
    """A word that begins in one piece of a download and ends in the next."""
    return b"\x00" + b"x" * (values.PIECE - 4) + b"passWord" + b"hunter22" + b"x" * 1000


@pytest.mark.parametrize(
    "value",
    [
        pickle.dumps({"a": b"x" * 70_000, "password": "hunter22"}),
        between_pieces(),
        b"\x00" * 900_000 + b"SECRET",
    ],
    ids=["a pickle", "between two pieces", "at the end"],
)
def test_secrets_behind_what_a_page_shows_are_not_downloaded(cache: Redis, value: bytes) -> None:
    assert len(value) > values.PREVIEW
    cache.set("large", value)
    refused = client_of("viewer").get(address(b"large", "download"))
    assert refused.status_code == 403
    assert "may hold what is masked for you" in text(refused)
    given = client_of("operator").get(address(b"large", "download"))
    assert b"".join(given.streaming_content) == value  # type: ignore[attr-defined]
    cache.set("large", b"\x00" * 900_000)
    harmless = client_of("viewer").get(address(b"large", "download"))
    assert len(b"".join(harmless.streaming_content)) == 900_000  # type: ignore[attr-defined]


@pytest.mark.parametrize("kind", ["hash", "list", "set", "zset", "stream"])
def test_secrets_in_elements_are_masked(cache: Redis, kind: str) -> None:
    said = json.dumps({"name": "Ada", "secret": "hunter22"})
    match kind:
        case "hash":
            cache.hset("things", mapping={"password": "hunter22", "said": said, "other": "plain"})
        case "list":
            cache.rpush("things", said, "plain")
        case "set":
            cache.sadd("things", said, "plain")
        case "zset":
            cache.zadd("things", {said: 1, "plain": 2})
        case "stream":
            cache.xadd("things", {"token": "hunter22", "said": said, "other": "plain"})
    seen = everything(cache, b"things", "viewer")
    assert "hunter22" not in seen
    assert "plain" in seen
    assert "Ada" in seen
    assert "hunter22" in everything(cache, b"things", "operator")


def test_what_is_no_secret_is_shown(cache: Redis) -> None:
    said = {"author": "Ada", "tokens": 12, "tokens_used": 3, "authored_at": "x", "compass": "north"}
    cache.set("plain", json.dumps(said))
    client = client_of("viewer")
    assert all(str(value) in text(client.get(address(b"plain"))) for value in said.values())
    file = client.get(address(b"plain", "download"))
    assert json.loads(b"".join(file.streaming_content)) == said  # type: ignore[attr-defined]
    for name in ("author", "tokens", "compass", "arcweb:1:passages", "authority", "secretary"):
        assert not says_secret(name.encode()), name
    for name in ("password", "userPassword", "db_passwd", "X-Api-Key", "session_id", "auth", "token", "AUTH"):
        assert says_secret(name.encode()), name


def test_the_rule_ends_on_hostile_values() -> None:
    """Patterns that go back and forth would take longer than a test may."""
    rule = Rule(b"plain", "string", sees=False)
    for piece in (
        b"x",
        b"[",
        b'{"a":',
        b'"',
        b'"\\',
        b"a=",
        b"a://",
        b"a://b:",
        b"\xff",
        b'{"password":"',
        b"session",
    ):
        raw = piece * (60_000 // len(piece))
        for whole in (True, False):
            rule.decoded(raw, whole=whole)
            rule.decoded(b"{" + raw, whole=whole)


def test_a_masked_value_cannot_be_tried_out(cache: Redis) -> None:
    cache.set("user:7:password", "hunter22")
    digest = hashlib.sha256(b"8")
    digest.update(hashlib.sha256(b"hunter22").digest())
    page = client_of("viewer").get(address(b"user:7:password")).content.decode()
    mark = re.search(r"mark=([0-9a-f]{64})", page)
    assert mark
    assert mark[1] != digest.hexdigest()
    cache.sadd("user:7:secrets", "hunter22")
    sought = {"role": "cache", "find": "hunter22"}
    assert client_of("viewer").get(address(b"user:7:secrets"), sought).status_code == 403
    assert "hunter22" in text(client_of("operator").get(address(b"user:7:secrets"), sought))


@pytest.mark.parametrize("said", [b'{"a": "\\ud800"}', b'"\\ud800"', b'{"\\udfff": 1}'])
def test_half_a_character_in_json_is_shown_as_its_escape(cache: Redis, said: bytes) -> None:
    cache.set("half", said)
    for role in ("viewer", "operator"):
        page = client_of(role).get(address(b"half"))
        assert page.status_code == 200
        assert re.search(r"\\ud(800|fff)", text(page))
