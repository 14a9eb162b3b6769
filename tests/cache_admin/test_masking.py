"""Session keys and passwords are not to be read off anything."""

from __future__ import annotations

import pytest

from cache_admin.masking import is_session, masked, masked_command, text

KEY = b"arcweb:1:arcweb.accounts.sessionsabcdefghijklmnopqrstuvwxyz012345"


@pytest.mark.parametrize(
    "key",
    [KEY, b"session:abc123secret", b"sess:abc123secret", b":1:django.contrib.sessions.cacheabc123secret"],
)
def test_a_session_key_is_shown_by_its_beginning(key: bytes) -> None:
    assert is_session(key)
    assert masked(key).endswith("…")
    assert key[-6:].decode() not in masked(key)


@pytest.mark.parametrize(
    "key", [b"user:123:profile", b"lock:session", b"leaderboard", b"rate:user:1:requests"]
)
def test_other_keys_are_shown_whole(key: bytes) -> None:
    assert not is_session(key)
    assert masked(key) == key.decode()


def test_what_no_person_can_read_is_escaped() -> None:
    assert text(b"a\nb\x00\xff<i>") == "a\\nb\\x00\\xff<i>"


@pytest.mark.parametrize(
    ("command", "hidden"),
    [
        (b"AUTH hunter2", "hunter2"),
        (b"AUTH default hunter2", "hunter2"),
        (b"HELLO 3 AUTH default hunter2", "hunter2"),
        (b"CONFIG SET requirepass hunter2", "hunter2"),
        (b"config set masterauth hunter2", "hunter2"),
        (b"ACL SETUSER ann >hunter2", "hunter2"),
        (b"SETEX session:abc123secret 1800 x", "123secret"),
        (b"GET " + KEY, "efghijkl"),
    ],
)
def test_a_command_gives_nothing_away(command: bytes, hidden: str) -> None:
    assert hidden not in " ".join(masked_command(command.split()))


def test_a_harmless_command_is_shown_whole() -> None:
    assert masked_command([b"CONFIG", b"SET", b"maxmemory", b"1gb"]) == ["CONFIG", "SET", "maxmemory", "1gb"]
