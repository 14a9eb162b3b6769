"""What a server sends without end, MONITOR's lines and messages of channels, read in bounded memory. Pure.

redis-py holds a reply as a whole, and one command or message may have 512 MB: here the beginning of a
string is kept, and its length.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass

#: Elements of a reply; a message has four at most.
MOST_ELEMENTS = 64


@dataclass(frozen=True)
class Text:
    """The beginning of a string, and how many bytes it has as a whole."""

    raw: bytes
    size: int


@dataclass(frozen=True)
class Refusal:
    """An error reply."""

    words: str


Reply = Text | Refusal | int | None | list["Reply"]
Parsing = Generator[None, None, Reply]


class ProtocolError(ValueError):
    """What came is no RESP2."""


class Lines:
    """Splits a stream into lines."""

    def __init__(self, keep: int) -> None:
        """keep: bytes of a line."""
        self._keep = keep
        self._part = bytearray()
        self._size = 0

    def feed(self, data: bytes) -> list[Text]:
        """The lines that these bytes complete, without their ends."""
        *ends, rest = data.split(b"\n")
        found = []
        for end in ends:
            self._add(end)
            raw = bytes(self._part)
            cut = self._size > len(raw)
            found.append(Text(raw if cut else raw.removesuffix(b"\r"), self._size - 1))
            self._forget()
        self._add(rest)
        return found

    def skip(self, data: bytes) -> int:
        """How many lines these bytes complete; cheaper than to look at them."""
        number = data.count(b"\n")
        if number:
            self._forget()
            data = data[data.rindex(b"\n") + 1 :]
        self._add(data)
        return number

    def _add(self, piece: bytes) -> None:
        self._size += len(piece)
        self._part += piece[: max(0, self._keep - len(self._part))]

    def _forget(self) -> None:
        self._part.clear()
        self._size = 0


class Replies:
    """Splits a stream into replies of RESP2."""

    def __init__(self, keep: int) -> None:
        """keep: bytes of a string."""
        self._keep = keep
        self._data = bytearray()
        self._found: list[Reply] = []
        self._parsing = self._all()
        next(self._parsing)

    def feed(self, data: bytes) -> list[Reply]:
        """The replies that these bytes complete. Raises ProtocolError."""
        self._data += data
        next(self._parsing)
        found, self._found = self._found, []
        return found

    def _all(self) -> Generator[None, None, None]:
        while True:
            reply = yield from self._reply()
            self._found.append(reply)  # not in one line: feed() gives the list away meanwhile

    def _reply(self) -> Parsing:
        head = yield from self._line()
        kind, rest = head.raw[:1], head.raw[1:]
        if kind == b"+":
            return Text(rest, head.size - 1)
        if kind == b"-":
            return Refusal(rest.decode(errors="replace"))
        if kind not in (b":", b"$", b"*"):
            raise ProtocolError(f"A reply begins with {kind!r}.")
        try:
            number = int(rest)
        except ValueError as error:
            raise ProtocolError(f"{rest[:20]!r} is no number.") from error
        if kind == b":":
            return number
        if number < 0:
            return None
        if kind == b"$":
            return (yield from self._string(number))
        if number > MOST_ELEMENTS:
            raise ProtocolError(f"A reply has {number} elements.")
        elements: list[Reply] = []
        for _ in range(number):
            elements.append((yield from self._reply()))  # noqa: PERF401 - no comprehension can yield from
        return elements

    def _line(self) -> Generator[None, None, Text]:
        lines = Lines(self._keep)
        while (end := self._data.find(b"\n")) < 0:
            lines.skip(bytes(self._data))
            self._data.clear()
            yield
        [line] = lines.feed(bytes(self._data[: end + 1]))
        del self._data[: end + 1]
        return line

    def _string(self, size: int) -> Generator[None, None, Text]:
        kept, left = bytearray(), size + 2
        while left > 0:
            if not self._data:
                yield
            piece = bytes(self._data[:left])
            del self._data[: len(piece)]
            kept += piece[: max(0, min(self._keep, size) - len(kept))]
            left -= len(piece)
        return Text(bytes(kept), size)
