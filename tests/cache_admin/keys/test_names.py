"""Names in addresses and patterns; no pattern spells out the key of a session."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis import Redis

from cache_admin import connections
from cache_admin.keys import names
from cache_admin.masking import is_session

STRANGE = [b"", b"a", b"a b", b"\x00\xff\n", "ä:ö".encode(), b"'\"<b>", b"x" * 2001, b"~", b"../..", b"%2F"]


@given(st.binary(max_size=300).filter(lambda key: not is_session(key)))
def test_a_name_comes_back_out_of_its_address(key: bytes) -> None:
    code = names.code_of(key)
    assert code
    assert set(code) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_~.")
    assert names.read_code(code) == key


def test_a_name_too_long_for_an_address_stands_there_by_its_digest() -> None:
    code = names.code_of(b"long:" + b"x" * 10_000)
    assert len(code) < 200
    found = names.read_code(code)
    assert isinstance(found, names.LongName)
    assert found.beginning.startswith(b"long:x")


@pytest.mark.parametrize(
    "code", ["ä", "a", "ab==", "a+b/", "~abc", "~abc.12", "c2Vzc2lvbjphYmMxMjM", "A" * 5, "YR"]
)
def test_what_is_no_address_is_refused(code: str) -> None:
    """Among them the address that session:abc123 would have."""
    with pytest.raises(ValueError):
        names.read_code(code)


def test_a_session_has_no_address() -> None:
    with pytest.raises(ValueError, match="credential"):
        names.code_of(b"session:abc123")


@pytest.mark.parametrize("key", STRANGE)
def test_the_pattern_below_a_prefix_matches_what_begins_so(key: bytes, cache: Redis) -> None:
    cache.set(key + b"tail", 1)
    cache.set(b"\x01other", 1)
    pattern = names.read_pattern(names.pattern_below(key))
    found = list(cache.scan_iter(match=pattern))
    assert key + b"tail" in found
    assert (b"\x01other" in found) == (key == b"")
    assert names.literal_beginning(pattern) == key[: names.LONGEST_PREFIX]


@given(
    pattern=st.text(alphabet="ab*?[]^-\\", max_size=8).map(str.encode),
    name=st.text(alphabet="ab^-]", max_size=6).map(str.encode),
)
def test_our_glob_is_that_of_the_server(pattern: bytes, name: bytes) -> None:
    with Redis.from_url(connections.url("cache")) as server:
        server.set(b"glob:" + name, 1)
        try:
            found = set(server.scan_iter(match=b"glob:" + pattern, count=1000))
        finally:
            server.delete(b"glob:" + name)
    assert names.matches(pattern, name) == (b"glob:" + name in found)


@pytest.mark.parametrize(
    ("pattern", "admitted"),
    [
        (b"*", True),
        (b"session:*", True),
        (b"s*", True),
        (b"*abc1*", True),
        (b"session:abc1*", True),
        (b"session:abc12*", False),
        (b"session:abc123", False),
        (b"*23", False),
        (b"session:??????", False),
        (b"session:????[1-3]*", False),
    ],
)
def test_a_session_is_found_by_what_is_shown_of_it_alone(pattern: bytes, admitted: bool) -> None:
    assert names.admits(pattern, b"session:abc123") is admitted


def test_a_pattern_that_holds_a_session_is_refused() -> None:
    with pytest.raises(names.SessionNamedError):
        names.read_pattern("session:abc123")
    with pytest.raises(names.SessionNamedError):
        names.read_pattern("arcweb:1:django.contrib.sessions.cached_dbabcdefgh*")
    assert names.read_pattern("session:*") == b"session:*"
    assert names.read_pattern("") == b"*"
    assert names.read_pattern(r"a\x2a\n\*") == b"a\\*\n\\*"


@pytest.mark.parametrize(
    ("key", "below", "prefix"),
    [
        (b"user:1:profile", b"", b"user:"),
        (b"user:1:profile", b"user:", b"user:1:"),
        (b"plain", b"", None),
        (b"session:abc:def", b"", b"session:"),
        (b"session:abc:def", b"session:", None),
        (
            b"arcweb:1:django.contrib.sessions.cached_dbabcdef",
            b"arcweb:1:",
            b"arcweb:1:django.contrib.sessions.cached_db",
        ),
    ],
)
def test_branches_stop_before_what_is_secret(key: bytes, below: bytes, prefix: bytes | None) -> None:
    assert names.branch(key, below) == prefix
