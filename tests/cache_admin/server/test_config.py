"""Changing settings: seen before set, set only if nobody was faster, told as an event, kept when asked."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.test import Client
from redis import Redis

from arcweb.embedded.stack import Stack
from arcweb.events.models import Event
from cache_admin import connections
from cache_admin.server.capabilities import forget
from cache_admin.server.catalogue import SETTINGS, in_bytes, trouble
from tests.cache_admin.conftest import HURRIED
from tests.people import client_of

pytestmark = pytest.mark.django_db
ADDRESS = "/redis/config/change/?role=cache&name="


@pytest.fixture
def server(throwaway_stack: Callable[..., Stack], settings: Any) -> Iterator[Redis]:
    """A cache role of the test's own, whose settings may be spoilt."""
    stack = throwaway_stack(postgres=False, roles=("cache",))
    settings.REDIS_URL = stack.layout.redis_url("cache")
    forget()
    with connections.client("cache") as client:
        yield client
    forget()


@pytest.fixture
def admin() -> Client:
    return client_of("administrator")


def body(response: Any, status: int = 200) -> str:
    assert response.status_code == status, response.content.decode()[-2000:]
    return str(response.content.decode())


def test_a_setting_is_changed_in_three_steps(server: Redis, admin: Client) -> None:
    assert "Look at the difference" in body(admin.get(f"{ADDRESS}maxmemory"))
    before = server.config_get("maxmemory")["maxmemory"]
    looked = body(admin.post(f"{ADDRESS}maxmemory", {"step": "look", "value": "300mb"}))
    assert f"<del>{before}</del>" in looked
    assert "<ins>300mb</ins>" in looked
    change = {"step": "set", "value": "300mb", "seen": before}
    assert "Type maxmemory to confirm" in body(admin.post(f"{ADDRESS}maxmemory", change), 400)
    assert server.config_get("maxmemory")["maxmemory"] == before
    assert not Event.objects.filter(kind="redis.configured").exists()
    done = admin.post(f"{ADDRESS}maxmemory", change | {"typed": "maxmemory"}, follow=True)
    assert "It lasts until the server restarts" in body(done)
    assert server.config_get("maxmemory")["maxmemory"] == str(300 << 20)
    event = Event.objects.get(kind="redis.configured")
    assert event.data == {"setting": "maxmemory", "role": "cache", "old": before, "new": "300mb"}
    kept = change | {"typed": "maxmemory", "seen": "300mb", "value": "310mb", "keep": "1"}
    assert "outlast a restart" in body(admin.post(f"{ADDRESS}maxmemory", kept, follow=True))
    with open(server.info("server")["config_file"]) as file:  # noqa: PTH123
        assert "maxmemory 310mb" in file.read()
    assert Event.objects.filter(kind="redis.config_rewritten").count() == 1


def test_who_comes_second_is_told(server: Redis, admin: Client) -> None:
    seen = server.config_get("timeout")["timeout"]
    server.config_set("timeout", "77")
    late = {"step": "set", "value": "60", "seen": seen, "typed": "timeout"}
    assert "changed meanwhile, from “0” to “77”" in body(admin.post(f"{ADDRESS}timeout", late), 409)
    assert server.config_get("timeout")["timeout"] == "77"
    assert not Event.objects.filter(kind="redis.configured").exists()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("maxmemory", "lots"),
        ("maxmemory-policy", "lru"),
        ("timeout", "1; CONFIG SET dir /"),
        ("appendonly", "maybe"),
        ("save", "900"),
        ("slowlog-max-len", ""),
    ],
)
def test_nonsense_is_refused_before_the_server_sees_it(
    server: Redis, admin: Client, name: str, value: str
) -> None:
    assert f"{name} takes" in body(admin.post(f"{ADDRESS}{name}", {"step": "look", "value": value}), 400)
    assert trouble(SETTINGS[name], value)


def test_what_the_server_refuses_changes_nothing_and_is_told(server: Redis, admin: Client) -> None:
    before = server.config_get("notify-keyspace-events")["notify-keyspace-events"]
    bad = {"step": "set", "value": "???", "seen": before, "typed": "notify-keyspace-events"}
    assert "The server refused it" in body(admin.post(f"{ADDRESS}notify-keyspace-events", bad), 409)
    assert Event.objects.filter(kind="redis.configure_refused").count() == 1


def test_risks_are_named_before(server: Redis, admin: Client) -> None:
    look = {"step": "look", "value": "100kb"}
    assert "evicts keys at once" in body(admin.post(f"{ADDRESS}maxmemory", look))
    look = {"step": "look", "value": "allkeys-lru"}
    state = ADDRESS.replace("cache", "state")
    assert "may then be evicted" in body(admin.post(f"{state}maxmemory-policy", look))


def test_the_password_is_nowhere(server: Redis, admin: Client) -> None:
    text = body(admin.get("/redis/config/?role=cache"))
    assert server.get_connection_kwargs()["password"] not in text
    assert re.search(r'requirepass</th><td class="mono value"[^>]*><span>set</span></td>', text)
    missing = body(admin.get(f"{ADDRESS}requirepass"), 404)
    assert server.get_connection_kwargs()["password"] not in missing


def test_every_setting_of_the_catalogue_is_one_of_the_servers_and_takes_its_own_advice(server: Redis) -> None:
    for name, setting in SETTINGS.items():
        assert name in server.config_get(name), name
        for advice in setting.advice.values():
            if advice.value is not None:
                assert trouble(setting, advice.value) == ""
                assert server.config_set(name, advice.value)
                assert advice.why.endswith(".")


def test_memory_is_counted_as_the_server_does(server: Redis) -> None:
    for text in ("1000000", "3mb", "3m", "2000kb", "2000k", "1gb", "1g", "4194304b"):
        server.config_set("maxmemory", text)
        assert int(server.config_get("maxmemory")["maxmemory"]) == in_bytes(text)


def test_a_frozen_and_a_dead_server_answer_within_a_second(
    throwaway_stack: Callable[..., Stack], settings: Any, admin: Client
) -> None:
    import signal
    import time

    stack = throwaway_stack(postgres=False, roles=("cache",))
    settings.REDIS_URL = stack.layout.redis_url("cache")
    forget()
    process = next(server for server in stack.servers if server.name == "valkey-cache").process()
    assert process is not None
    pages = [
        "/redis/",
        "/redis/eviction/",
        "/redis/config/",
        "/redis/save/?command=SAVE",
        f"{ADDRESS}timeout",
    ]
    pages += ["/redis/flush/?role=cache", "/redis/config/rewrite/"]
    settings.ARC_REDIS_TIMEOUT = HURRIED
    try:
        for stop in (signal.SIGSTOP, signal.SIGKILL):
            process.send_signal(stop)
            for page in pages:
                began = time.monotonic()
                text = body(admin.get(page), 503)
                assert time.monotonic() - began < 40  # a timeout, on a busy machine; it stays so for longer
                assert "Away" in text
    finally:
        if process.is_running():
            process.send_signal(signal.SIGCONT)
        forget()
