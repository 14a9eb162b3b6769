"""These tests change settings, users and statistics of the two servers, which all test processes share."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from redis import Redis

from arcweb.accounts import sessions
from arcweb.embedded.stack import Stack
from arcweb.jobs import dispatch
from cache_admin.server import capabilities
from cache_admin.structures import quick
from tests.stack import THROWAWAY, new_layout

HERE = Path(__file__).parent
#: Seconds that a busy machine may take for an answer. Tests of servers that hang say HURRIED.
UNHURRIED, HURRIED = 10.0, 0.5


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A test waits for the one of the other process, which may be the one of a million keys."""
    for item in items:
        if HERE in item.path.parents and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(900))


@pytest.fixture(autouse=True)
def one_after_the_other() -> Iterator[None]:
    """Whatever process they run in."""
    with (settings.ARC_DATA_DIR / "redis-tests.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@pytest.fixture(autouse=True)
def no_hurry(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """No answer is late because the machine is busy, or is not waited for because of an earlier test."""
    settings.ARC_REDIS_TIMEOUT = UNHURRIED
    monkeypatch.setattr(quick, "HURRY", UNHURRIED)
    monkeypatch.setattr(quick._Health, "paused_until", 0.0)
    monkeypatch.setattr(sessions._Health, "paused_until", 0.0)
    monkeypatch.setattr(dispatch, "_paused_until", 0.0)


@pytest.fixture(scope="module")
def own_stack() -> Iterator[Stack]:
    """Both roles for one file alone, whose figures and logs no other test writes into."""
    layout, lock = new_layout()
    stack = Stack(layout, replace(THROWAWAY, postgres=False))
    try:
        stack.start()
        yield stack
    finally:
        stack.destroy()
        lock.close()


@pytest.fixture
def own_cache(own_stack: Stack, settings: Any) -> Iterator[None]:
    """The cache role is that of `own_stack`; sessions stay where they are."""
    settings.REDIS_URL = own_stack.layout.redis_url("cache")
    capabilities.forget()
    yield
    capabilities.forget()


@pytest.fixture
def own_state(own_stack: Stack, settings: Any) -> Iterator[None]:
    """The state role is that of `own_stack`; queues stay where they are."""
    settings.REDIS_STATE_URL = own_stack.layout.redis_url("state")
    capabilities.forget()
    yield
    capabilities.forget()


def rules_known(admin: Redis, *rules: str) -> list[str]:
    """The ACL rules without those about commands that this product or version does not have."""
    commands = [rule.lstrip("+-") for rule in rules]
    found = admin.execute_command("COMMAND INFO", *commands)
    there = found.values() if isinstance(found, dict) else found
    return [
        rule
        for rule, command, known in zip(rules, commands, there, strict=True)
        if command.startswith("@") or known
    ]
