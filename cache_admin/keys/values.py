"""One key: its facts, and a page of its value. Reads are bounded, whatever the key holds."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from redis import Redis
from redis.exceptions import RedisError, ResponseError

from cache_admin.keys.decode import HYPERLOGLOG, Decoded, brief, decode, editable
from cache_admin.keys.scan import SAMPLES, allowed, words

#: Bytes of a string that a page reads, and of one piece of a download.
PREVIEW, PIECE = 64 * 1024, 256 * 1024
#: Elements of a page at most, and bytes of them, about.
ELEMENTS, PAGE_BYTES = 100, 1024 * 1024
#: Cursors are unsigned numbers of 64 bits, places in a list signed ones.
LAST_CURSOR, LAST_PLACE = 2**64 - 1, 2**62
#: For each type how its length is asked, and what it counts.
LENGTHS = {
    "string": ("STRLEN", "bytes"),
    "list": ("LLEN", "elements"),
    "hash": ("HLEN", "fields"),
    "set": ("SCARD", "members"),
    "zset": ("ZCARD", "members"),
    "stream": ("XLEN", "entries"),
}


class KeyGone(Exception):  # noqa: N818 - a fact, and no error
    """The key does not exist: it expired, was deleted or renamed, or never was."""


def is_wrong_type(error: ResponseError) -> bool:
    """Whether the key holds another type than the command reads: it was replaced a moment ago."""
    return "WRONGTYPE" in f"{getattr(error, 'status_code', '')} {error}"


@dataclass(frozen=True)
class Facts:
    """ttl: milliseconds, None: it does not expire. size: bytes in memory, by samples, None: unknown.

    length and unit: "12 fields". encoding: "" where the server does not tell.
    """

    kind: str
    ttl: int | None
    encoding: str
    size: int | None
    length: int
    unit: str


@dataclass(frozen=True)
class String:
    """The beginning of a string. text and digest serve its change; text None: it cannot be changed here."""

    decoded: Decoded
    shown: int  #: bytes that were read
    cut: bool
    text: str | None
    digest: str
    estimate: int | None = None  #: of a HyperLogLog: about so many different things


@dataclass(frozen=True)
class Elements:
    """A page of a collection, in words. place: where it begins, as `next` of the page before said."""

    columns: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    place: str
    next: str  #: "": there are no more
    note: str = ""


Value = String | Elements


def digest_of(raw: bytes) -> str:
    return hashlib.sha256(raw).hexdigest()


def facts(client: Redis, key: bytes) -> Facts:
    """Raises KeyGone, and redis.exceptions.RedisError."""
    with client.pipeline(transaction=False) as pipe:
        pipe.execute_command("TYPE", key)
        pipe.execute_command("PTTL", key)
        pipe.execute_command("OBJECT ENCODING", key)
        pipe.execute_command("MEMORY USAGE", key, "SAMPLES", SAMPLES)
        kind_answer, ttl, encoding, size = pipe.execute(raise_on_error=False)
    for answer in (kind_answer, ttl):
        if isinstance(answer, RedisError):
            raise answer
    kind = words(kind_answer)
    if kind == "none" or ttl == -2:
        raise KeyGone
    command, unit = LENGTHS.get(kind, ("", ""))
    length: Any = client.execute_command(command, key) if command else 0
    encoding = allowed(encoding)
    return Facts(
        kind,
        ttl if ttl >= 0 else None,
        words(encoding) if encoding else "",
        allowed(size),
        int(length),
        unit,
    )


def value(client: Redis, key: bytes, known: Facts, place: str = "") -> Value | None:
    """A page of the value from `place` on; None: a type that only its module can read.

    Raises KeyGone, ValueError for a place that is none, redis.exceptions.RedisError.
    """
    if known.kind == "string":
        return _string(client, key)
    # Elements of many kilobytes come in smaller pages; a page of one may still be large.
    mean = (known.size or 0) / max(1, known.length)
    most = max(1, min(ELEMENTS, int(PAGE_BYTES / mean) if mean else ELEMENTS))
    read = {"list": _list, "hash": _hash, "set": _set, "zset": _zset, "stream": _stream}.get(known.kind)
    return read(client, key, known.length, place, most) if read else None


def _string(client: Redis, key: bytes) -> String:
    with client.pipeline(transaction=True) as pipe:
        pipe.execute_command("STRLEN", key)
        pipe.execute_command("GETRANGE", key, 0, PREVIEW - 1)
        length, raw = pipe.execute()
    cut = length > len(raw)
    estimate = None
    if raw.startswith(HYPERLOGLOG):
        try:
            estimate = int(client.execute_command("PFCOUNT", key))
        except ResponseError:
            estimate = None  # it only looks like one, or the server's ACL forbids the question
    plain = None if cut or estimate is not None else editable(raw)
    return String(decode(raw, whole=not cut), len(raw), cut, plain, digest_of(raw), estimate)


def _offset(place: str) -> int:
    """A cursor, or the number of an element."""
    if place and not (place.isascii() and place.isdigit() and len(place) <= 20):
        raise ValueError("The address holds a place that is none.")
    return check_cursor(int(place or 0))


def check_cursor(cursor: int, most: int = LAST_CURSOR) -> int:
    """The cursor, if the server can have made it; else ValueError."""
    if not 0 <= cursor <= most:
        raise ValueError("The address holds a place that is none.")
    return cursor


def _list(client: Redis, key: bytes, length: int, place: str, most: int) -> Elements:
    start = check_cursor(_offset(place), LAST_PLACE)
    found: Any = client.lrange(key, start, start + most - 1)
    rows = [(f"{start + number:,}", brief(element)) for number, element in enumerate(found)]
    return Elements(("Index", "Element"), rows, place, _more(start, len(found), length))


def _zset(client: Redis, key: bytes, length: int, place: str, most: int) -> Elements:
    start = check_cursor(_offset(place), LAST_PLACE)
    found: Any = client.zrange(key, start, start + most - 1, withscores=True)
    rows = [
        (f"{start + number + 1:,}", f"{score:.17g}", brief(member))
        for number, (member, score) in enumerate(found)
    ]
    return Elements(("Rank, lowest first", "Score", "Member"), rows, place, _more(start, len(found), length))


def _more(start: int, found: int, length: int) -> str:
    return str(start + found) if found and start + found < length else ""


def _hash(client: Redis, key: bytes, length: int, place: str, most: int) -> Elements:
    answer: Any = client.hscan(key, _offset(place), count=most)
    cursor, found = answer
    rows = [(brief(field), brief(content)) for field, content in found.items()]
    return Elements(("Field", "Value"), rows, place, str(cursor or ""), SCANNED)


def _set(client: Redis, key: bytes, length: int, place: str, most: int) -> Elements:
    answer: Any = client.sscan(key, _offset(place), count=most)
    cursor, found = answer
    rows = [(brief(member),) for member in found]
    return Elements(("Member",), rows, place, str(cursor or ""), SCANNED)


SCANNED = "In the server's own order; one that changes while you page may be shown twice."


def _stream(client: Redis, key: bytes, length: int, place: str, most: int) -> Elements:
    numbers = place.split("-")
    if place and not (len(numbers) == 2 and all(one.isdigit() and len(one) <= 20 for one in numbers)):
        raise ValueError("The address holds a place that is none.")
    found: Any = client.xrange(key, min=f"({place}" if place else "-", count=most)
    rows = [
        (words(one), brief(b", ".join(name + b"=" + content for name, content in (fields or {}).items())))
        for one, fields in found
    ]
    return Elements(
        ("Id", "Fields"), rows, place, rows[-1][0] if len(rows) == most else "", _groups(client, key)
    )


def _groups(client: Redis, key: bytes) -> str:
    try:
        groups: Any = client.xinfo_groups(key)
    except ResponseError:
        return ""
    named = [f"{words(group['name'])[:80]} ({group['pending']:,} pending)" for group in groups[:20]]
    return f"Consumer groups: {', '.join(named)}." if named else "No consumer group reads it."


def length_of(client: Redis, key: bytes) -> int:
    """Bytes of a string. Raises KeyGone; ResponseError for another type."""
    length: Any = client.execute_command("STRLEN", key)
    if not length and not client.exists(key):
        raise KeyGone
    return int(length)


class Torn(Exception):  # noqa: N818
    """The value changed while it was read; what was read is of no use."""


def pieces(client: Redis, key: bytes, length: int) -> Iterator[bytes]:
    """The string in pieces, each with a look at its length. Raises Torn, redis.exceptions.RedisError."""
    for start in range(0, length, PIECE):
        with client.pipeline(transaction=True) as pipe:
            pipe.execute_command("STRLEN", key)
            pipe.execute_command("GETRANGE", key, start, min(start + PIECE, length) - 1)
            now, piece = pipe.execute()
        if now != length:
            raise Torn("The value changed while it was downloaded; try again.")
        yield piece
