"""System checks of the project."""

from __future__ import annotations

import pytest
from django.core.checks import run_checks
from pytest_django.fixtures import Settings

from arcweb.checks import redis_asks_for_a_password, redis_roles_are_apart


@pytest.mark.parametrize(
    ("cache", "state", "shared"),
    [
        ("redis://h:6379/0", "redis://h:6379/1", True),
        ("redis://h/0", "redis://u:p@h:6379/0", True),
        ("redis://localhost/0", "redis://127.0.0.1:6379/1", True),
        ("unix://:a@/run/a.sock?db=0", "unix://:a@/run/a.sock?db=1", True),
        ("redis://h:6379/0", "redis://h:6380/0", False),
        ("redis://a/0", "redis://b/0", False),
        ("unix:///run/a.sock", "unix:///run/b.sock", False),
    ],
)
def test_w001_warns_when_both_roles_share_one_server(
    settings: Settings, cache: str, state: str, shared: bool
) -> None:
    settings.REDIS_URL, settings.REDIS_STATE_URL = cache, state
    found = redis_roles_are_apart(None)
    assert [message.id for message in found] == (["arcweb.W001"] if shared else [])


def test_w001_says_what_could_be_lost_and_what_to_do_and_is_run_by_check(settings: Settings) -> None:
    settings.REDIS_URL = settings.REDIS_STATE_URL = "redis://:private@h:6379/0"
    (message,) = [message for message in run_checks() if message.id == "arcweb.W001"]
    assert "h:6379" in message.msg
    assert "queued tasks" in message.msg
    assert "REDIS_STATE_URL" in str(message.hint)
    assert "private" not in str(message)


@pytest.mark.parametrize(
    ("cache", "state", "named"),
    [
        ("redis://h/0", "rediss://arc@h:1/0", ["REDIS_URL", "REDIS_STATE_URL"]),
        ("redis://h/0", "redis://h/0", ["REDIS_URL"]),
        ("redis://:p@h/0", "redis://h:1/0", ["REDIS_STATE_URL"]),
        ("redis://:p@h/0", "redis://h:1/0?password=p", []),
        ("unix:///run/a.sock", "unix:///run/b.sock?db=1", []),
    ],
)
def test_w003_warns_of_a_server_in_the_network_that_asks_for_no_password(
    settings: Settings, cache: str, state: str, named: list[str]
) -> None:
    settings.REDIS_URL, settings.REDIS_STATE_URL = cache, state
    assert redis_asks_for_a_password(None) == [], "embedded: the stack made its own"
    settings.ARC_EMBEDDED = False
    found = redis_asks_for_a_password(None)
    assert [message.msg.split()[0] for message in found] == named
    assert {message.id for message in found} <= {"arcweb.W003"}
