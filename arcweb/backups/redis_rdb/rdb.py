"""What an RDB file says of itself: its head, its end and its checksum. No Django, no server.

Format: `rdb.h` and `rdb.c` of Redis and Valkey. A head of nine bytes (REDIS0011; from version 80 on Valkey
writes VALKEY080), named facts (opcode FA), the databases, opcode FF, and from version 5 on a CRC-64 of all
before it, little endian, which is zero where the server has `rdbchecksum no`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from arcweb.backups.exceptions import CorruptCopy
from arcweb.backups.redis_rdb.crc64 import Crc64
from arcweb.backups.streams import BLOCK, Readable

MAGIC = re.compile(rb"(?:REDIS(\d{4})|VALKEY(\d{3}))")
HEAD = 9
SUM = 8
#: First version with a checksum, and the first that Redis alone writes and Valkey does not read; from 80 on
#: versions are Valkey's, which Redis does not read.
CHECKSUM_SINCE, REDIS_ONLY_SINCE, VALKEY_ONLY_SINCE = 5, 12, 80
AUX, END = 0xFA, 0xFF
#: Bytes in which the facts stand; the ones of today take 150.
FACTS_WITHIN = 64 * 1024
#: Facts that a manifest keeps; others (repl-id …) are of no use to anybody.
KEPT_FACTS = ("redis-ver", "valkey-ver", "redis-bits", "ctime", "used-mem", "aof-base", "aof-preamble")


@dataclass(frozen=True)
class Head:
    """version: of the format. facts: name → value, of KEPT_FACTS, as far as the file gives them."""

    version: int
    facts: Mapping[str, str] = field(default_factory=dict)

    @property
    def product(self) -> str:
        return "Valkey" if self.version >= VALKEY_ONLY_SINCE or "valkey-ver" in self.facts else "Redis"

    @property
    def server(self) -> str:
        """The version of the server that wrote it; "" where the file does not say."""
        return self.facts.get("valkey-ver") or self.facts.get("redis-ver", "")

    @property
    def taken_at(self) -> datetime | None:
        """The moment that the file holds, by the server's clock; None where the file does not say."""
        try:
            return datetime.fromtimestamp(int(self.facts["ctime"]), UTC)
        except (KeyError, ValueError, OverflowError, OSError):
            return None

    @property
    def memory(self) -> int:
        """Bytes that the server used for its data; 0 where the file does not say."""
        try:
            return max(0, int(self.facts["used-mem"]))
        except (KeyError, ValueError):
            return 0

    @property
    def read_by(self) -> str:
        """ "Redis", "Valkey" or "either": whose servers can read this version of the format at all."""
        if self.version >= VALKEY_ONLY_SINCE:
            return "Valkey"
        return "Redis" if self.version >= REDIS_ONLY_SINCE else "either"


def head(data: bytes) -> Head:
    """The head in the first bytes of a file. Raises CorruptCopy when they are no RDB."""
    found = MAGIC.match(data)
    if found is None:
        what = "it is empty" if not data else f"it begins with {data[:HEAD]!r}"
        raise CorruptCopy(f"This is no RDB file, which begins with REDIS or VALKEY: {what}.")
    facts: dict[str, str] = {}
    place = HEAD
    try:
        while data[place] == AUX:
            name, place = _string(data, place + 1)
            value, place = _string(data, place)
            if name in KEPT_FACTS:
                facts[name] = value[:100]
    except IndexError:
        pass  # more facts than are looked at, or a file that ends here: its end is looked at elsewhere
    return Head(int(found[1] or found[2]), facts)


class Checked:
    """An RDB on its way through: what is read from it is looked at as it passes.

    `finish`, at the end, raises CorruptCopy unless the whole was an RDB file from head to checksum.
    """

    def __init__(self, source: Readable) -> None:
        self._source = source
        self._first = bytearray()
        self._summed = 0  # the last byte that went into the sum
        self._last = b""  # the last eight bytes, which do not
        self._sum = Crc64()
        self.bytes = 0

    def read(self, size: int = -1) -> bytes:
        block = self._source.read(size if size > 0 else BLOCK)
        if block:
            self.feed(block)
        return block

    def feed(self, block: bytes) -> None:
        if self.bytes < FACTS_WITHIN:
            self._first += block[: FACTS_WITHIN - len(self._first)]
            if self.bytes < HEAD <= len(self._first):
                head(bytes(self._first))  # whatever else comes: not worth waiting for
        self.bytes += len(block)
        known = self._last + block
        if len(known) > SUM:
            self._sum.update(memoryview(known)[:-SUM])
            self._summed = known[-SUM - 1]
        self._last = known[-SUM:]

    @property
    def head(self) -> Head:
        return head(bytes(self._first))

    def finish(self) -> bool:
        """Whether the file has a checksum, which then is right. Raises CorruptCopy."""
        found = self.head
        if found.version < CHECKSUM_SINCE:
            if self._last[-1] != END:
                raise CorruptCopy("The RDB does not end as an RDB does: it was cut.")
            return False
        if self._summed != END:
            raise CorruptCopy(
                "The RDB does not end as an RDB does, with its end mark and a checksum: after "
                f"{self.bytes:,} bytes it was cut."
            )
        said = int.from_bytes(self._last, "little")
        if said and said != self._sum.value:
            raise CorruptCopy(
                f"The RDB's own checksum is {said:016x}, and its {self.bytes:,} bytes give "
                f"{self._sum.value:016x}: it was changed after it was written."
            )
        return bool(said)


def _string(data: bytes, place: int) -> tuple[str, int]:
    """The string at that place, and the place behind it. Raises IndexError where the data ends before."""
    first = data[place]
    kind = first >> 6
    if kind == 0:
        length, place = first, place + 1
    elif kind == 1:
        length, place = (first & 63) << 8 | data[place + 1], place + 2
    elif first == 0x80:
        length, place = int.from_bytes(_cut(data, place + 1, 4), "big"), place + 5
    elif first == 0x81:
        length, place = int.from_bytes(_cut(data, place + 1, 8), "big"), place + 9
    elif first in (0xC0, 0xC1, 0xC2):  # a number of 1, 2 or 4 bytes
        size = 1 << (first & 3)
        number = int.from_bytes(_cut(data, place + 1, size), "little", signed=True)
        return str(number), place + 1 + size
    else:
        raise IndexError  # LZF: none of the facts that are kept is so long
    return _cut(data, place, length).decode("utf-8", "replace"), place + length


def _cut(data: bytes, place: int, length: int) -> bytes:
    if place + length > len(data):
        raise IndexError
    return data[place : place + length]
