"""Where a query's words stand in a text: from PostgreSQL's ts_headline to pieces for a page. Pure.

The database finds the words, since it knows the stems that the index is made of ("leases" finds
"lease"). Its marks are control characters that it takes out of the text before, so that no content can
pass for a mark; escaping is the template's, piece by piece.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

START, STOP = "\x01", "\x02"
#: Characters of a text in which words are looked for, and of it that a page shows.
LONGEST_MARKED = 20_000
#: Characters of a preview, and of it before the first marked word.
PREVIEW, BEFORE = 320, 90

_MARKED = re.compile(f"{START}([^{START}{STOP}]*){STOP}")
_MARKS = str.maketrans("", "", START + STOP)

Span = tuple[int, int]


@dataclass(frozen=True)
class Piece:
    """A part of a text; `marked`: it is a word of the query."""

    text: str
    marked: bool = False


def spans(marked: str, text: str) -> tuple[Span, ...]:
    """(start, end) of the marked words in `text`.

    `marked` is the beginning of `text` with START and STOP around words, as ts_headline gives it. When
    it is anything else, nothing is marked rather than something wrong.
    """
    if not text.startswith(marked.translate(_MARKS)):
        return ()
    starts = [(match.start() - 2 * number, match[1]) for number, match in enumerate(_MARKED.finditer(marked))]
    return tuple((start, start + len(word)) for start, word in starts)


def pieces(text: str, found: Sequence[Span], first: int = 0, last: int | None = None) -> list[Piece]:
    """text[first:last] in pieces, its words at `found` (in order, not overlapping) marked."""
    last = len(text) if last is None else min(last, len(text))
    result: list[Piece] = []
    position = first
    for start, end in found:
        start, end = max(start, first), min(end, last)
        if start < end:
            result += [Piece(text[position:start]), Piece(text[start:end], marked=True)]
            position = end
    result.append(Piece(text[position:last]))
    return [piece for piece in result if piece.text]


def preview(text: str, found: Sequence[Span]) -> list[Piece]:
    """About PREVIEW characters around the first marked word, with … where something is left out."""
    first = 0
    if found and found[0][1] > PREVIEW:
        first = _word_start(text, found[0][0] - BEFORE, found[0][0])
    last = min(len(text), first + PREVIEW)
    if last < len(text):
        last = max(text.rfind(" ", first + PREVIEW // 2, last), first + PREVIEW // 2)
    shown = pieces(text, found, first, last)
    return [*([Piece("…")] if first else []), *shown, *([Piece("…")] if last < len(text) else [])]


def _word_start(text: str, near: int, latest: int) -> int:
    """The place after the first space from `near` on, before `latest`."""
    space = text.find(" ", near, latest)
    return space + 1 if space >= 0 else near
