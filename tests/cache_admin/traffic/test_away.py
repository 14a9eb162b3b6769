"""A server that is down, hung or forbids things: each page answers in words, and in time."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest
from redis import Redis

from cache_admin import connections
from cache_admin.server import capabilities
from tests.cache_admin.conftest import HURRIED, rules_known
from tests.people import client_of

pytestmark = pytest.mark.django_db
PAGES = ("/redis/clients/", "/redis/slow/", "/redis/live/", "/redis/queues/")
ACTIONS = ("/redis/live/monitor/", "/redis/live/subscribe/", "/redis/live/publish/", "/redis/slow/reset/")
#: Seconds: about one is promised, the rest is for a busy machine; the hung server is so for ever.
IN_TIME = 40.0


@pytest.fixture
def hung(settings: Any) -> Iterator[str]:
    """The address of a server that takes connections and never says a word."""
    settings.ARC_REDIS_TIMEOUT = HURRIED
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"redis://127.0.0.1:{listener.getsockname()[1]}/0"


@pytest.mark.parametrize("path", PAGES + ACTIONS)
@pytest.mark.parametrize("known", [True, False])
def test_a_hung_server(hung: str, path: str, known: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    browser = client_of("administrator")
    if known:  # what it can do is remembered from when it was well
        remembered = {role: capabilities.capabilities(role) for role in connections.ROLES}
        monkeypatch.setattr(capabilities, "capabilities", remembered.get)
        monkeypatch.setattr("cache_admin.rooms.capabilities", remembered.get)
        for views in ("client_views", "slow_views", "live_views", "queue_views"):
            monkeypatch.setattr(f"cache_admin.traffic.{views}.capabilities", remembered.get)
    monkeypatch.setattr(connections, "url", lambda role: hung)
    started = time.monotonic()
    values = {"seconds": "10", "channel": "a", "message": "b"}
    address = f"{path}?role=state"
    response = browser.get(address) if path in PAGES else browser.post(address, values, follow=True)
    assert time.monotonic() - started < IN_TIME
    assert response.status_code == 503
    assert "did not answer in time" in response.content.decode()


@pytest.mark.parametrize("path", PAGES)
def test_a_server_that_is_not_there(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "url", lambda role: "redis://127.0.0.1:1/0")
    response = client_of("viewer" if path != "/redis/live/" else "operator").get(f"{path}?role=state")
    assert response.status_code == 503
    assert "cannot be reached" in response.content.decode()


def test_what_the_acl_forbids_is_off_with_the_reason(cache: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    rules = (
        "+@all", "-monitor", "-slowlog", "-commandlog", "-latency", "-config", "-publish", "-psubscribe",
        "-pubsub", "-eval", "-client|list", "-client|kill",
    )  # fmt: skip
    cache.execute_command(
        "ACL SETUSER", "guest", "reset", "on", ">guest", "~*", "&*", *rules_known(cache, *rules)
    )
    real = connections.url
    monkeypatch.setattr(connections, "url", lambda role: re.sub("//[^@]*@", "//guest:guest@", real("cache")))
    browser = client_of("administrator")
    try:
        for path in PAGES:
            response = browser.get(f"{path}?role=state")
            assert response.status_code == 200, path
            assert "ACL" in response.content.decode(), path
        for path in ACTIONS:
            response = browser.post(f"{path}?role=state", {"seconds": "10"})
            assert response.status_code == 400, path
            assert "ACL" in response.content.decode(), path
    finally:
        cache.execute_command("ACL", "DELUSER", "guest")
        capabilities.forget()
