"""Streams are read piece by piece, and a long string keeps its beginning alone."""

from __future__ import annotations

import tracemalloc

import pytest

from cache_admin.traffic.resp import Lines, ProtocolError, Refusal, Replies, Text

MESSAGE = b"*4\r\n$8\r\npmessage\r\n$1\r\n*\r\n$4\r\nnews\r\n$11\r\nhello\r\nyou!\r\n"


@pytest.mark.parametrize("step", [1, 2, 3, 7, 1000])
def test_replies_in_pieces(step: int) -> None:
    data = MESSAGE + b":7\r\n+OK\r\n-NOPERM no\r\n$-1\r\n*0\r\n" + MESSAGE
    replies = Replies(100)
    found = [
        reply for start in range(0, len(data), step) for reply in replies.feed(data[start : start + step])
    ]
    message = [Text(b"pmessage", 8), Text(b"*", 1), Text(b"news", 4), Text(b"hello\r\nyou!", 11)]
    assert found == [message, 7, Text(b"OK", 2), Refusal("NOPERM no"), None, [], message]


@pytest.mark.parametrize("step", [1, 5, 1000])
def test_lines_in_pieces(step: int) -> None:
    data = b'+OK\r\n+12.5 [0 a] "GET"\r\n\r\n'
    lines = Lines(8)
    found = [line for start in range(0, len(data), step) for line in lines.feed(data[start : start + step])]
    assert found == [Text(b"+OK", 3), Text(b"+12.5 [0", 17), Text(b"", 0)]


def test_skipped_lines_are_counted_and_the_next_is_whole() -> None:
    lines = Lines(100)
    assert lines.feed(b"+a") == []
    assert lines.skip(b"b\r\n+c\r\n+d") == 2
    assert lines.feed(b"e\r\n") == [Text(b"+de", 3)]


def test_a_huge_string_takes_no_memory() -> None:
    replies, piece = Replies(64), b"x" * 65536
    tracemalloc.start()
    replies.feed(b"$33554432\r\n")
    for _ in range(512):
        replies.feed(piece)
    [text] = replies.feed(b"\r\n")
    assert tracemalloc.get_traced_memory()[1] < 1_000_000
    tracemalloc.stop()
    assert text == Text(b"x" * 64, 33_554_432)


@pytest.mark.parametrize("data", [b"?\r\n", b"*9999\r\n", b"$abc\r\n"])
def test_what_is_no_protocol(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        Replies(10).feed(data)
