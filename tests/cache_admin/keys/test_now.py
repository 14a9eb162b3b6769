"""A page of a key that is left open hears what becomes of it."""

from __future__ import annotations

import re
from html import unescape
from typing import Any

import pytest
from django.test import Client
from redis import Redis
from redis.exceptions import ResponseError

from cache_admin.keys import longnames
from tests.cache_admin.keys.test_pages import address, text
from tests.people import client_of
from tests.waiting import until

pytestmark = pytest.mark.django_db


def asked(page: Any) -> str:
    """Where the page, or its fragment, asks next; "" when it asks no more."""
    found = re.search(r'id="keynow" data-panel hx-get="([^"]+)"', page.content.decode())
    return unescape(found[1]) if found else ""


def opened(client: Client, key: bytes) -> str:
    url = asked(client.get(address(key)))
    assert url
    assert "Unchanged since you opened it" in text(client.get(url))
    return url


def fill(cache: Redis, kind: str) -> None:
    match kind:
        case "string":
            cache.set("k", "before")
        case "hash":
            cache.hset("k", "a", "before")
        case "list":
            cache.rpush("k", "before")
        case "set":
            cache.sadd("k", "before")
        case "zset":
            cache.zadd("k", {"m": 1})
        case "stream":
            cache.xadd("k", {"a": "before"})


def change(cache: Redis, kind: str) -> None:
    match kind:
        case "string":
            cache.set("k", "behind", keepttl=True)
        case "hash":
            cache.hset("k", "a", "behind")
        case "list":
            cache.lset("k", 0, "behind")
        case "set":
            cache.sadd("k", "behind")
        case "zset":
            cache.zadd("k", {"m": 2})
        case "stream":
            cache.xadd("k", {"a": "behind"})


@pytest.mark.parametrize("kind", ["string", "hash", "list", "set", "zset", "stream"])
def test_a_change_is_told_and_so_is_the_end(cache: Redis, kind: str) -> None:
    fill(cache, kind)
    client = client_of("viewer")
    url = opened(client, b"k")
    change(cache, kind)
    told = client.get(url)
    assert "Somebody changed what is shown here" in text(told)
    assert 'role="alert"' in told.content.decode()
    again = client.get(asked(told))
    assert "Somebody changed what is shown here" in text(again)
    assert 'role="alert"' not in again.content.decode()  # said once
    cache.delete("k")
    gone = client.get(asked(again))
    assert gone.status_code == 200
    assert "the key has expired, or was deleted" in text(gone)
    assert asked(gone) == ""


def test_an_expiry_that_is_changed_or_runs(cache: Redis) -> None:
    cache.set("k", "x", ex=1000)
    client = client_of("viewer")
    url = opened(client, b"k")
    cache.expire("k", 100)
    assert "Its expiry was changed: it now expires in" in text(client.get(url))
    cache.persist("k")
    assert "it now does not expire" in text(client.get(url))
    cache.expire("k", 30)
    assert "every 2s" in client.get(address(b"k")).content.decode()


def test_the_place_that_is_shown_counts(cache: Redis) -> None:
    cache.rpush("k", *map(str, range(300)))
    client = client_of("viewer")
    url = asked(client.get(f"{address(b'k')}&place=100"))
    cache.lset("k", 5, "elsewhere")
    assert "Unchanged" in text(client.get(url))
    cache.lset("k", 105, "here")
    assert "Somebody changed" in text(client.get(url))


def test_looking_does_not_keep_a_key_from_being_evicted(cache: Redis) -> None:
    try:
        with cache.client() as own:
            own.execute_command("CLIENT NO-TOUCH", "ON")
    except ResponseError:
        pytest.skip("CLIENT NO-TOUCH came with Redis 7.2: before it every look counts as a use")
    cache.set("k", "x")
    client = client_of("viewer")
    url = opened(client, b"k")
    until(lambda: idle(cache) >= 2)  # it counts in seconds
    client.get(url)
    assert idle(cache) >= 2


def idle(cache: Redis) -> int:
    return int(cache.object("idletime", "k"))


@pytest.mark.usefixtures("own_cache")  # whose calls are counted
def test_a_key_of_a_long_name_is_watched_and_looked_for_once(cache: Redis) -> None:
    key = b"long:" + b"n" * 10_000
    cache.set(key, "before")
    cache.mset({f"other:{number}": 1 for number in range(20)})
    client = client_of("viewer")
    url = opened(client, key)
    cache.config_resetstat()
    cache.set(key, "behind")
    told = client.get(url)
    assert "Somebody changed what is shown here" in text(told)
    assert "cmdstat_scan" not in cache.info("commandstats")
    cache.delete(key)
    assert "the key has expired, or was deleted" in text(client.get(asked(told)))


def test_a_long_name_that_is_not_met_in_time_is_not_called_gone(
    cache: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = b"long:" + b"m" * 10_000
    cache.mset({f"other:{number}": 1 for number in range(3_000)})
    monkeypatch.setattr(longnames, "SECONDS", 0.0)
    page = client_of("viewer").get(address(key))
    assert page.status_code == 404
    assert "it may be there or gone" in text(page)
    assert client_of("viewer").get(f"{address(key, 'now')}&last=0").status_code == 404
    monkeypatch.setattr(longnames, "SECONDS", 60.0)
    assert "This key is not in the cache role" in text(client_of("viewer").get(address(key)))


def test_damaged_addresses(cache: Redis) -> None:
    cache.set("k", "x")
    client = client_of("viewer")
    assert client.get(address(b"k", "now")).status_code == 400
    assert client.get("/redis/keys/!!/now/?last=0").status_code == 404
    assert client_of("").get(f"{address(b'k', 'now')}&last=0").status_code == 403
