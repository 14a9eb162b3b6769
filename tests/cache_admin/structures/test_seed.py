"""The commands of the stack's page on Redis, typed in the console: each is then seen on its page."""

from __future__ import annotations

from io import StringIO

import pytest
from django.core.management import call_command
from django.urls import reverse

from tests.people import client_of

pytestmark = pytest.mark.django_db


def typed(*lines: str, role: str) -> None:
    call_command("redis_shell", "--role", role, command=list(lines), stdout=StringIO())


@pytest.mark.parametrize("role", ["cache", "state"])
@pytest.mark.parametrize(
    ("lines", "page", "seen", "undo"),
    [
        (
            ['SETEX session:abc123 1800 {"user_id":123,"role":"admin"}'],
            "redis_sessions",
            ["session:abc1…", "user_id</span> 123", "role</span> admin", " min"],
            "DEL session:abc123",
        ),
        (
            ["INCR rate:user:123:requests", "EXPIRE rate:user:123:requests 60"],
            "redis_limits",
            ["rate:user:123:requests", " s</td>", "Nothing."],
            "DEL rate:user:123:requests",
        ),
        (
            ["SET lock:resource:123 worker-1 NX EX 10"],
            "redis_locks",
            ["lock:resource:123", "worker-1", "plain key"],
            "DEL lock:resource:123",
        ),
        (
            ["ZADD leaderboard 100 player1", "ZADD leaderboard 150 player2", "ZADD leaderboard 120 player3"],
            "redis_leaderboards",
            [">leaderboard<", "player2", "Gold", "3 members"],
            "DEL leaderboard",
        ),
    ],
)
def test_what_is_typed_is_seen(lines: list[str], page: str, seen: list[str], undo: str, role: str) -> None:
    browser = client_of("viewer")
    address = f"{reverse(f'admin:{page}')}?role={role}"
    typed(*lines, role=role)
    html = browser.get(address).content.decode()
    for words in seen:
        assert words in html
    typed(undo, role=role)
    html = browser.get(address).content.decode()
    assert seen[0] not in html


@pytest.mark.parametrize("page", ["redis_sessions", "redis_limits", "redis_locks", "redis_leaderboards"])
def test_a_server_that_is_away_is_a_sentence_within_a_second(page: str, settings: object) -> None:
    settings.REDIS_STATE_URL = "redis://127.0.0.1:1/0"  # type: ignore[attr-defined]
    response = client_of("viewer").get(f"{reverse(f'admin:{page}')}?role=state")
    assert response.status_code == 503
    assert "cannot be reached" in response.content.decode()
