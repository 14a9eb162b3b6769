"""What would be evicted first, and what that breaks, on real servers with real keys."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.core.checks import run_checks
from redis import Redis

from arcweb.checks import redis_evicts_nothing_dear
from arcweb.embedded.stack import Stack
from cache_admin import connections, samplers
from cache_admin.cards import concerns_of
from cache_admin.server.capabilities import forget
from cache_admin.server.eviction import POLICIES, verdict
from cache_admin.server.purposes import BREAKS, purpose_of, survey
from tests.people import client_of

SESSION = "0123456789abcdef0123456789abcdef"


@pytest.mark.parametrize(
    ("key", "purpose"),
    [
        (f"arcweb:1:django.contrib.sessions.cached_db{SESSION}", "own session"),
        (f"other:1:django.contrib.sessions.cache{SESSION}", "session"),
        ("session:abc123", "session"),
        ("arcweb:1:views.cache", "cache"),
        ("cache:front-page", "cache"),
        ("arcweb:celery:celery", "queue"),
        ("quick", "queue"),
        ("_kombu.binding.celery", "queue"),
        ("arcweb:celery:unacked_index", "unacked"),
        ("unacked", "unacked"),
        ("lock:resource:123", "lock"),
        ("arcweb:1:lock:report", "lock"),
        ("rate:user:123:requests", "limit"),
        ("leaderboard", "leaderboard"),
        ("user:123:profile", "unknown"),
        (":1:page", "cache"),
        ("block:1", "unknown"),
    ],
)
def test_a_key_is_known_by_its_name(key: str, purpose: str) -> None:
    assert purpose_of(key.encode()) == purpose
    assert purpose in BREAKS


@pytest.fixture
def server(throwaway_stack: Callable[..., Stack], settings: Any) -> Iterator[Redis]:
    """An empty cache role of the test's own."""
    stack = throwaway_stack(postgres=False, roles=("cache",))
    settings.REDIS_URL = stack.layout.redis_url("cache")
    forget()
    with connections.client("cache") as client:
        yield client
    forget()


def judged(client: Redis, role: Any = "cache") -> Any:
    return verdict(role, client.info("memory"), survey(client))


def test_the_verdict_follows_policy_keys_and_headroom(server: Redis) -> None:
    assert judged(server).word == "Safe"
    server.set("arcweb:1:page", "x")
    server.set(f"arcweb:1:django.contrib.sessions.cached_db{SESSION}", "x", ex=6000)
    found = judged(server)
    assert (found.word, found.state) == ("Safe", "good")
    assert "allkeys-lru evicts the least recently used keys" in found.sentence
    assert SESSION not in repr(found)

    server.set("lock:resource:123", "worker-1", ex=600)
    server.rpush("arcweb:celery:celery", "{}")
    found = judged(server)
    assert (found.word, found.state) == ("Unsafe", "warn")
    assert "1 key of a queue and 1 lock (of all keys)" in found.sentence
    assert "state role" in found.sentence

    server.config_set("maxmemory-policy", "volatile-ttl")
    found = judged(server)
    assert "what expires soonest, now a key of the kind “lock”" in found.sentence
    assert {line.purpose: line.evicted for line in found.lines}["queue"] == "never"

    server.delete("lock:resource:123", f"arcweb:1:django.contrib.sessions.cached_db{SESSION}")
    assert judged(server).word == "Refuses"
    server.config_set("maxmemory-policy", "noeviction")
    assert judged(server).word == "No eviction"
    assert judged(server, "state").word == "Safe"
    server.config_set("maxmemory", server.info("memory")["used_memory"] + 50_000)
    assert judged(server, "state").word == "Nearly full"
    server.config_set("maxmemory-policy", "allkeys-lfu")
    assert judged(server, "state").state == "bad"
    server.config_set("maxmemory", 0)
    assert "As long as maxmemory is 0" in judged(server).sentence


def test_every_policy_that_the_server_takes_is_explained(server: Redis) -> None:
    taken = []
    for policy in POLICIES:
        try:
            server.config_set("maxmemory-policy", policy)
        except Exception:  # noqa: BLE001 - Redis has two that Valkey has not
            continue
        taken.append(policy)
        assert judged(server).explained == POLICIES[policy]
    assert len(taken) >= 8


def test_check_sample_and_page_say_the_same(server: Redis, db: None) -> None:
    server.set("lock:resource:123", "worker-1")
    (message,) = redis_evicts_nothing_dear(None)
    assert message.id == "arcweb.W002"
    assert "1 lock" in message.msg
    assert server.get_connection_kwargs()["password"] not in str(message)
    assert "arcweb.W002" in [found.id for found in run_checks()]
    sample = samplers.take("cache")
    assert sample["unsafe"] == 1
    assert sample["latency_ms"] > 0
    (concern,) = concerns_of("cache", sample)
    assert "holds 1 key or more that no page can bring back" in concern.sentence
    for path in ("/redis/", "/redis/eviction/"):
        text = client_of("viewer").get(path).content.decode()
        assert 'class="verdict warn"' in text

    server.delete("lock:resource:123")
    assert redis_evicts_nothing_dear(None) == []
    assert concerns_of("cache", samplers.take("cache")) == ()


def test_a_server_that_is_away_is_no_warning(settings: Any) -> None:
    settings.REDIS_URL = settings.REDIS_STATE_URL = "unix:///nowhere/at.all"
    assert redis_evicts_nothing_dear(None) == []


def test_the_sample_is_bounded_and_says_so(server: Redis, db: None) -> None:
    with server.pipeline(transaction=False) as pipe:
        for number in range(30_000):
            pipe.set(f"arcweb:1:page:{number}", "x")
        pipe.execute()
    before = server.info("commandstats")
    found = survey(server)
    after = server.info("commandstats")
    assert found.seen <= 5000
    assert found.total == 30_000
    assert not found.complete
    assert after["cmdstat_type"]["calls"] - before.get("cmdstat_type", {"calls": 0})["calls"] <= 5000
    assert after["cmdstat_scan"]["calls"] - before.get("cmdstat_scan", {"calls": 0})["calls"] <= 55
    assert "cmdstat_keys" not in after
    text = client_of("viewer").get("/redis/eviction/").content.decode()
    assert "of 30,000 keys" in text
    assert "shares are those of this sample" in text


def test_names_are_escaped(server: Redis, db: None) -> None:
    server.set(b"<script>alert(1)</script>\n" + b"x" * 10_000, "1")
    text = client_of("viewer").get("/redis/eviction/").content.decode()
    assert "&lt;script&gt;alert(1)" in text
    assert "x" * 200 not in text
