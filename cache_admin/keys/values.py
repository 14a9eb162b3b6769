"""One key: its facts, and a page of its value. Reads are bounded, whatever the key holds."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from django.utils.crypto import salted_hmac
from redis import Redis
from redis.exceptions import RedisError, ResponseError

from cache_admin.keys import elements, escapes
from cache_admin.keys.decode import HYPERLOGLOG, Decoded, brief, editable
from cache_admin.keys.elements import KeyGone, code_of
from cache_admin.keys.scan import SAMPLES, allowed, words
from cache_admin.keys.secrecy import Rule

#: Bytes of a string that a page reads, and of one piece of a download.
PREVIEW, PIECE = 64 * 1024, 256 * 1024
#: Elements of a page at most, and bytes of them, about.
ELEMENTS, PAGE_BYTES = 100, 1024 * 1024
#: Cursors are unsigned numbers of 64 bits, places in a list signed ones.
LAST_CURSOR, LAST_PLACE = 2**64 - 1, 2**62
LAST_ID = f"{2**64 - 1}-{2**64 - 1}"
#: For each type how its length is asked, and what it counts.
LENGTHS = {
    "string": ("STRLEN", "bytes"),
    "list": ("LLEN", "elements"),
    "hash": ("HLEN", "fields"),
    "set": ("SCARD", "members"),
    "zset": ("ZCARD", "members"),
    "stream": ("XLEN", "entries"),
}
#: What the tables of elements show.
COLUMNS = {
    "list": ("Index", "Element"),
    "hash": ("Field", "Value"),
    "set": ("Member",),
    "zset": ("Rank, lowest first", "Score", "Member"),
    "stream": ("Id", "Fields"),
}


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

    mark: str = ""  #: the same while nothing of what is shown has changed


@dataclass(frozen=True)
class Element:
    """One of a collection. code: what names it in addresses and forms; "" for one that cannot be changed."""

    cells: tuple[str, ...]
    code: str


@dataclass(frozen=True)
class Elements:
    """A page of a collection, in words. place: where it begins, as `next` of the page before said."""

    columns: tuple[str, ...]
    rows: Sequence[Element]
    place: str
    next: str  #: "": there are no more
    note: str = ""
    mark: str = ""  #: the same while nothing of what is shown has changed


Value = String | Elements


def _mark(length: int, *parts: bytes) -> str:
    """A digest of what is shown, whatever its order: a server may move what it scans.

    With this site's secret in it: it stands in addresses, also of those for whom the value is masked, and
    must not let them try out what the value may be.
    """
    digest = hashlib.sha256(str(length).encode())
    for part in sorted(hashlib.sha256(part).digest() for part in parts):
        digest.update(part)
    return salted_hmac("cache_admin.keys.mark", digest.digest(), algorithm="sha256").hexdigest()


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


def value(client: Redis, key: bytes, known: Facts, rule: Rule, place: str = "") -> Value | None:
    """A page of the value from `place` on; None: a type that only its module can read.

    Raises KeyGone, ValueError for a place that is none, redis.exceptions.RedisError.
    """
    if known.kind == "string":
        return _string(client, key, rule)
    read = {"list": _list, "hash": _hash, "set": _set, "zset": _zset, "stream": _stream}.get(known.kind)
    return read(client, key, known, rule, place) if read else None


def at_once(known: Facts, most: int, most_bytes: int) -> int:
    """Elements that are read in one step: those of many kilobytes come in smaller ones."""
    mean = (known.size or 0) / max(1, known.length)
    return max(1, min(most, int(most_bytes / mean) if mean else most))


def _page(known: Facts) -> int:
    return at_once(known, ELEMENTS, PAGE_BYTES)


def _string(client: Redis, key: bytes, rule: Rule) -> String:
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
    plain = None if cut or estimate is not None or not rule.sees else editable(raw)
    shown = rule.decoded(raw, whole=not cut)
    return String(shown, len(raw), cut, plain, digest_of(raw), estimate, _mark(length, raw))


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


def _list(client: Redis, key: bytes, known: Facts, rule: Rule, place: str) -> Elements:
    start = check_cursor(_offset(place), LAST_PLACE)
    found: Any = client.lrange(key, start, start + _page(known) - 1)
    rows = [
        Element((f"{start + number:,}", rule.say(element)), str(start + number))
        for number, element in enumerate(found)
    ]
    after = _more(start, len(found), known.length)
    mark = _mark(known.length, *(b"%d %b" % pair for pair in enumerate(found)))
    return Elements(COLUMNS["list"], rows, place, after, mark=mark)


def _zset(client: Redis, key: bytes, known: Facts, rule: Rule, place: str) -> Elements:
    start = check_cursor(_offset(place), LAST_PLACE)
    found: Any = client.zrange(key, start, start + _page(known) - 1, withscores=True)
    rows = [
        Element((f"{start + number + 1:,}", f"{score:.17g}", rule.say(member)), code_of(member))
        for number, (member, score) in enumerate(found)
    ]
    after = _more(start, len(found), known.length)
    mark = _mark(known.length, *(f"{score!r} ".encode() + member for member, score in found))
    return Elements(COLUMNS["zset"], rows, place, after, mark=mark)


def _more(start: int, found: int, length: int) -> str:
    return str(start + found) if found and start + found < length else ""


def _hash(client: Redis, key: bytes, known: Facts, rule: Rule, place: str) -> Elements:
    answer: Any = client.hscan(key, _offset(place), count=_page(known))
    cursor, found = answer
    rows = [
        Element((rule.name(field), rule.say(content, field)), code_of(field))
        for field, content in found.items()
    ]
    pairs = (b"%d %b%b" % (len(field), field, content) for field, content in found.items())
    mark = _mark(known.length, *pairs)
    return Elements(COLUMNS["hash"], rows, place, str(cursor or ""), SCANNED, mark)


def _set(client: Redis, key: bytes, known: Facts, rule: Rule, place: str) -> Elements:
    answer: Any = client.sscan(key, _offset(place), count=_page(known))
    cursor, found = answer
    rows = [Element((rule.say(member),), code_of(member)) for member in found]
    return Elements(COLUMNS["set"], rows, place, str(cursor or ""), SCANNED, _mark(known.length, *found))


SCANNED = "In the server's own order; one that changes while you page may be shown twice."


def _stream(client: Redis, key: bytes, known: Facts, rule: Rule, place: str) -> Elements:
    if place and (not elements.is_stream_id(place) or place == LAST_ID):  # nothing can stand behind the last
        raise ValueError("The address holds a place that is none.")
    most = _page(known)
    found: Any = client.xrange(key, min=f"({place}" if place else "-", count=most)
    rows = [Element((words(one), brief_entry(rule, fields or {})), words(one)) for one, fields in found]
    after = rows[-1].code if len(rows) == most else ""
    mark = _mark(known.length, *(one for one, _ in found))  # entries never change
    return Elements(COLUMNS["stream"], rows, place, after, _groups(client, key), mark)


def brief_entry(rule: Rule, fields: dict[bytes, bytes]) -> str:
    """The fields of a stream's entry in one line."""
    said = (f"{rule.name(name)}={rule.say(content, name)}" for name, content in fields.items())
    return brief(", ".join(said).encode())


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


def look_up(client: Redis, key: bytes, known: Facts, rule: Rule, text: str) -> Elements | None:
    """One element by its name, as it is typed or shown with escapes; None: it is not there.

    Of a list it is the index (-1: the last), of a stream the id.
    """
    for name in _meant(known, text):
        if known.kind == "hash":
            found: Any = client.execute_command("HSTRLEN", key, name)
            content: Any = client.hget(key, name) if found <= PAGE_BYTES else None
            there: bytes | None = content
        else:
            there = elements.read(client, key, known.kind, name)
        if there is not None:
            return Elements(COLUMNS[known.kind], [_alone(client, key, known, rule, name, there)], "", "")
    return None


def _meant(known: Facts, text: str) -> list[bytes]:
    """What may be meant by the text."""
    if known.kind == "list":
        digits = text.replace(",", "").strip()
        if not digits.removeprefix("-").isdecimal() or len(digits) > 18:
            return []
        place = int(digits)
        index = place if place >= 0 else known.length + place
        return [str(index).encode()] if index >= 0 else []
    if known.kind == "stream":
        return [text.strip().encode()] if elements.is_stream_id(text.strip()) else []
    meant = [text.encode()]
    with suppress(ValueError):
        meant.append(escapes.read(text, escaped=True))
    return meant


def _alone(client: Redis, key: bytes, known: Facts, rule: Rule, name: bytes, content: bytes) -> Element:
    if known.kind == "list":
        return Element((f"{int(name):,}", rule.say(content)), name.decode())
    if known.kind == "hash":
        return Element((rule.name(name), rule.say(content, name)), code_of(name))
    if known.kind == "set":
        return Element((rule.say(name),), code_of(name))
    if known.kind == "zset":
        rank: Any = client.zrank(key, name)
        place = "" if rank is None else f"{rank + 1:,}"
        return Element((place, content.decode(), rule.say(name)), code_of(name))
    found: Any = client.xrange(key, min=name, max=name, count=1)
    fields = found[0][1] if found else {}
    return Element((name.decode(), brief_entry(rule, fields or {})), name.decode())
