"""Nothing that these pages show is a credential, an argument of a job, or longer than a line."""

from __future__ import annotations

import pytest

from cache_admin.traffic import words

KEY = b"arcweb:1:arcweb.accounts.sessions" + b"s3cretsessionkeyofthirtytwochars"


def test_session_keys_and_what_is_kept_under_them() -> None:
    said = words.command([b"SETEX", b"session:abc123def456", b"1800", b'{"user_id":123}'])
    assert said == ["SETEX", "session:abc1…", "…", "…"]
    assert words.command([b"GET", KEY])[1].endswith("sessionss3cr…")
    plain = words.word(b"arcweb:1:django.contrib.sessions.cached_dbabcdefghijklmnop")
    assert plain == "arcweb:1:django.contrib.sessions.cached_dbabcd…"
    both = words.command([b"DEL", KEY, b"session:zyxwvu"])
    assert "etsessionkey" not in " ".join(both)
    assert both[2] == "session:zyxw…"


@pytest.mark.parametrize(
    "command",
    [
        [b"AUTH", b"hunter2"],
        [b"auth", b"default", b"hunter2"],
        [b"HELLO", b"3", b"AUTH", b"default", b"hunter2"],
        [b"CONFIG", b"SET", b"requirepass", b"hunter2"],
        [b"ACL", b"SETUSER", b"eve", b">hunter2"],
        [b"SET", b"user:7:password", b"hunter2"],
        [b"HSET", b"user:7", b"name", b"Ada", b"api_key", b"hunter2"],
        [b"SADD", b"user:7:secrets", b"hunter2"],
        [b"PUBLISH", b"news", b'{"name": "Ada", "password": "hunter2"}'],
        [b"SET", b"user:7", b'{"password": "hunter2", "long": "' + b"x" * 600],
        [b"MIGRATE", b"host", b"1", b"", b"0", b"1", b"AUTH", b"hunter2"],
    ],
)
def test_passwords(command: list[bytes]) -> None:
    assert "hunter2" not in " ".join(words.command(command))


def test_words_that_are_no_secret() -> None:
    said = [b"HSET", b"author:7", b"tokens", b"12", b"about", b'{"name": "Ada"}']
    assert words.command(said) == [one.decode() for one in said]
    assert words.command([b"AUTHOR", b"x"]) == ["AUTHOR", "x"]
    assert words.command([b"GET", b"user:7:password"]) == ["GET", "user:7:password"]


def test_a_session_key_elsewhere_in_a_message_or_a_channel() -> None:
    assert words.word(b"__keyspace@0__:session:abc123def456") == "__keyspace@0__:session:abc1…"
    assert "etsession" not in words.word(b"__keyspace@3__:" + KEY)
    assert "etsession" not in words.word(b'{"deleted": "' + KEY + b'"}')
    assert "23def" not in words.word(b"gone: session:abc123def456, now")


def test_messages_of_queues_are_told_by_size_alone() -> None:
    body = b'{"body": "' + b"x" * 200 + b'"}'
    assert words.command([b"LPUSH", b"arcweb:celery:celery", body]) == [
        "LPUSH",
        "arcweb:celery:celery",
        f"({len(body)} bytes)",
    ]
    assert words.command([b"LPUSH", b"shopping", b"milk"])[2] == "milk"


def test_long_and_strange_words() -> None:
    assert words.word(b"a" * 10_000) == "a" * 120 + "… (10,000 bytes)"
    assert words.word(b"one\ntwo\x00\xff<b>") == "one\\ntwo\\x00\\xff<b>"
    assert words.command([]) == []


@pytest.mark.parametrize(
    ("key", "prefix"),
    [
        (b"user:123:profile", "user:*"),
        (b"rate:user:9:requests", "rate:user:*"),
        (b"leaderboard", "*"),
        (b"doc:0f8fad5b-d9cb-469f-a165-70867728950e:text", "doc:*"),
        (b"session:abc123", "session:*"),
        (KEY, "arcweb:1:arcweb.accounts.*"),
    ],
)
def test_prefixes(key: bytes, prefix: str) -> None:
    assert words.prefix(key) == prefix
