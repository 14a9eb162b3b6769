"""The console's language: words as people type them, replies as redis-cli shows them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.exceptions import ResponseError

from cache_admin.console import QuotingError, Status, describe, is_plain_text, render, split_line


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("PING", [b"PING"]),
        ("  SET \t a  1 ", [b"SET", b"a", b"1"]),
        ("", []),
        ("   ", []),
        ('SET k {"name":"John"} EX 3600', [b"SET", b"k", b'{"name":"John"}', b"EX", b"3600"]),
        ('SET k \'{"name": "John"}\'', [b"SET", b"k", b'{"name": "John"}']),
        (r'SET k "a\nb\x00\xffé\"\\\q"', [b"SET", b"k", b'a\nb\x00\xff\xc3\xa9"\\q']),
        (r"SET k 'it\'s \n'", [b"SET", b"k", b"it's \\n"]),
        ("SET k ''", [b"SET", b"k", b""]),
        ('SET k ""', [b"SET", b"k", b""]),
        ("SET it's é", [b"SET", b"it's", b"\xc3\xa9"]),
        (r'"\xZZ"', [b"xZZ"]),
    ],
)
def test_a_line_is_split_into_words(line: str, words: list[bytes]) -> None:
    assert split_line(line) == words


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ('GET "a', 'The " at character 5 is never closed.'),
        ("GET 'a", "The ' at character 5 is never closed."),
        (r"GET 'a\'", "never closed"),
        ('GET "a"b', 'After the closing " at character 7 there must be a space.'),
        ('GET "a\\', "never closed"),
    ],
)
def test_bad_quoting_is_a_sentence(line: str, sentence: str) -> None:
    with pytest.raises(QuotingError) as error:
        split_line(line)
    assert sentence in str(error.value)


@given(st.lists(st.binary(), min_size=1))
def test_what_is_shown_can_be_typed_again(values: list[bytes]) -> None:
    assert split_line(" ".join(render(value) for value in values)) == values


@given(st.text())
def test_no_line_breaks_the_parser(line: str) -> None:
    try:
        words = split_line(line)
    except QuotingError:
        return
    assert all(isinstance(word, bytes) for word in words)


def test_replies_look_as_in_redis_cli() -> None:
    assert render(Status(b"OK")) == "OK"
    assert render(b"OK") == '"OK"'
    assert render(7) == "(integer) 7"
    assert render(None) == "(nil)"
    assert render([]) == "(empty array)"
    assert render(ResponseError("wrong kind", status_code="WRONGTYPE")) == "(error) WRONGTYPE wrong kind"
    assert render(b'a"b\n\x00\xe9') == r'"a\"b\n\x00\xe9"'
    assert render(b"# Memory\r\nused:1\r\n", plain_text=True) == "# Memory\r\nused:1"


def test_lists_are_numbered_and_indented() -> None:
    nested = [b"a", [1, [None, b"b"]], *[b"c"] * 8]
    assert render(nested).splitlines()[:5] == [
        ' 1) "a"',
        " 2) 1) (integer) 1",
        "    2) 1) (nil)",
        '       2) "b"',
        ' 3) "c"',
    ]
    assert render(nested).splitlines()[-1] == '10) "c"'


def test_texts_for_people_are_known_by_their_command() -> None:
    assert is_plain_text([b"info", b"memory"])
    assert is_plain_text([b"CLIENT", b"list"])
    assert not is_plain_text([b"CLIENT", b"ID"])
    assert not is_plain_text([b"GET", b"INFO"])


def test_a_message_never_repeats_a_password() -> None:
    assert describe([b"GET", b"a"]) == "GET a"
    assert describe([b"config", b"SET", b"requirepass", b"private"]) == "config …"
