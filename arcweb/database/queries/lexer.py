"""SQL text as PostgreSQL's scanner splits it, near enough to show it and to name what is in it. Pure.

Nothing here decides what may be run: that is asked of the server's own parser (`explain`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

Kind = Literal["space", "comment", "string", "name", "word", "number", "parameter", "other"]
TOKEN = re.compile(
    r"""
    (?P<space>\s+)
  | (?P<comment>--[^\n]*|/\*)
  | (?P<string>[eE]'(?:[^'\\]|\\.|'')*(?:'|\Z) | (?:[bBxXnN]|[uU]&)?'(?:[^']|'')*(?:'|\Z))
  | (?P<dollar>\$(?:[A-Za-z_\x80-\uffff][\w\x80-\uffff]*)?\$)
  | (?P<name>(?:[uU]&)?"(?:[^"]|"")*(?:"|\Z))
  | (?P<parameter>\$\d+)
  | (?P<word>[A-Za-z_\x80-\uffff][\w$\x80-\uffff]*)
  | (?P<number>\d[\w.]*|\.\d[\w]*)
  | (?P<other>.)
    """,
    re.VERBOSE | re.DOTALL,
)
COMMENT_EDGE = re.compile(r"/\*|\*/")


@dataclass(frozen=True)
class Token:
    kind: Kind
    text: str

    @property
    def upper(self) -> str:
        return self.text.upper()


def tokens(text: str) -> Iterator[Token]:
    """Every part of the text in its order; together they are the text."""
    place = 0
    while place < len(text):
        match = TOKEN.match(text, place)
        if match is None:  # cannot be: the last alternative takes any character
            return
        kind, end = str(match.lastgroup), match.end()
        if match[0] == "/*":
            end = _end_of_comment(text, end)
        elif kind == "dollar":
            closing = text.find(match[0], end)
            kind, end = "string", len(text) if closing < 0 else closing + len(match[0])
        yield Token(kind, text[place:end])  # type: ignore[arg-type]
        place = end


def meaningful(text: str) -> list[Token]:
    """Without space and comments."""
    return [token for token in tokens(text) if token.kind not in ("space", "comment")]


def first_word(text: str) -> str:
    """In upper case, after comments and opening brackets; "" where there is none."""
    for token in meaningful(text):
        if token.kind == "word":
            return token.upper
        if token.text != "(":
            return ""
    return ""


def _end_of_comment(text: str, place: int) -> int:
    depth = 1
    for edge in COMMENT_EDGE.finditer(text, place):
        depth += 1 if edge[0] == "/*" else -1
        if depth == 0:
            return edge.end()
    return len(text)
