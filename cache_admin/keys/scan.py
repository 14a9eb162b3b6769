"""Browsing by SCAN: a page of keys, and a tree of prefixes, each within a budget. Never KEYS."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from redis import Redis
from redis.exceptions import ResponseError

from cache_admin import masking
from cache_admin.keys import names

#: Keys that one SCAN looks at, and keys that are asked about in one round trip. The server carries a round
#: trip out before it turns to anybody else; one of these takes it as long as some GETs, which
#: tests/cache_admin/keys/test_million.py holds and `make bench` measures.
COUNT, TRIP = 100, 20
#: What one request may take: seconds, and keys looked at.
SECONDS, KEYS = 0.25, 100_000
#: Rows of a page at least, if there are so many; one SCAN may bring some more.
ROWS = 100
#: Keys looked at for the tree of prefixes, and its most lines.
SAMPLE, BRANCHES = 5_000, 30
#: How MEMORY USAGE is asked: exact for small values, by so many elements of large ones (0 would mean all).
SAMPLES = 5
TYPES = ("string", "hash", "list", "set", "zset", "stream")
#: Filters by expiry, with the most milliseconds left.
TTL_BELOW = {"minute": 60_000, "hour": 3_600_000, "day": 86_400_000}


@dataclass(frozen=True)
class Filters:
    pattern: bytes = b"*"
    kind: str = ""  #: a type of TYPES; empty: any
    ttl: str = ""  #: "none", "some" or a key of TTL_BELOW; empty: any

    def lasts(self, ttl: int) -> bool:
        """Whether a key with so many milliseconds left (-1: without end) passes."""
        if self.ttl == "none":
            return ttl == -1
        return not self.ttl or (ttl >= 0 and ttl < TTL_BELOW.get(self.ttl, float("inf")))


@dataclass(frozen=True)
class Row:
    """A key of the list. ttl: milliseconds, None: it does not expire; size: bytes, None: unknown."""

    key: bytes
    kind: str
    ttl: int | None
    size: int | None

    @property
    def session(self) -> bool:
        return masking.is_session(self.key)


@dataclass(frozen=True)
class Listing:
    rows: list[Row]
    cursor: int  #: where to continue; 0: all was looked at
    looked_at: int  #: keys, about
    seconds: float


@dataclass(frozen=True)
class Branch:
    prefix: bytes
    keys: int  #: of the sample


@dataclass(frozen=True)
class Tree:
    """Prefixes among a sample, most frequent first. more: further ones that are not listed."""

    branches: list[Branch]
    more: int
    sample: int  #: matching keys in the sample
    whole: bool  #: the sample is all there is


def batches(
    client: Redis, filters: Filters, cursor: int = 0, count: int = COUNT
) -> Iterator[tuple[int, list[bytes]]]:
    """(next cursor, keys) of each SCAN until the cursor is 0. Keys may repeat, and a batch may be empty."""
    while True:
        cursor, found = _scan(client, filters, cursor, count)
        yield cursor, [key for key in found if names.admits(filters.pattern, key)]
        if cursor == 0:
            return


def _scan(client: Redis, filters: Filters, cursor: int, count: int) -> tuple[int, list[bytes]]:
    pattern = None if names.matches_all(filters.pattern) else filters.pattern
    answer: Any = client.scan(cursor, match=pattern, count=count, _type=filters.kind.upper() or None)
    return int(answer[0]), answer[1]


def browse(client: Redis, filters: Filters, cursor: int = 0) -> Listing:
    """A page of keys, from that cursor on. Raises redis.exceptions.RedisError."""
    started = time.monotonic()
    rows: dict[bytes, Row] = {}
    looked_at, count = 0, ROWS
    for position, found in batches(client, filters, cursor, count):
        cursor = position
        looked_at += count
        rows |= {row.key: row for row in describe(client, found, filters)}
        taken = time.monotonic() - started
        if len(rows) >= ROWS or taken >= SECONDS or looked_at >= KEYS:
            break
    return Listing(list(rows.values()), cursor, looked_at, time.monotonic() - started)


def describe(client: Redis, keys: Sequence[bytes], filters: Filters | None = None) -> list[Row]:
    """Type, expiry and size of each key that is still there and passes."""
    passing = filters or Filters()
    rows = []
    with client.pipeline(transaction=False) as pipe:
        for trip in trips(keys):
            for key in trip:
                pipe.execute_command("TYPE", key)
                pipe.execute_command("PTTL", key)
            answers = pipe.execute()
            there = [
                (key, words(kind), int(ttl))
                for key, kind, ttl in zip(trip, answers[::2], answers[1::2], strict=True)
                if words(kind) != "none" and ttl != -2 and passing.lasts(ttl)
            ]
            for key, _, _ in there:
                pipe.execute_command("MEMORY USAGE", key, "SAMPLES", SAMPLES)
            sizes = pipe.execute(raise_on_error=False)  # a user of the server may be denied this one
            rows += [
                Row(key, kind, ttl if ttl >= 0 else None, size if isinstance(size, int) else None)
                for (key, kind, ttl), size in zip(there, sizes, strict=True)
            ]
    return rows


def trips(keys: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    """The keys in the portions of one round trip each."""
    for first in range(0, len(keys), TRIP):
        yield keys[first : first + TRIP]


def tree(client: Redis, pattern: bytes, below: bytes) -> Tree:
    """The prefixes below `below` among a sample of the keys that match."""
    started = time.monotonic()
    counts: Counter[bytes] = Counter()
    seen: set[bytes] = set()
    looked_at, position = 0, 0
    for position, found in batches(client, Filters(pattern)):  # noqa: B007 - read below
        looked_at += COUNT
        for key in found:
            if key not in seen:
                seen.add(key)
                if prefix := names.branch(key, below):
                    counts[prefix] += 1
        if len(seen) >= SAMPLE or looked_at >= KEYS or time.monotonic() - started >= SECONDS:
            break
    common = [Branch(prefix, keys) for prefix, keys in counts.most_common(BRANCHES)]
    return Tree(common, len(counts) - len(common), len(seen), position == 0)


def words(answer: Any) -> str:
    """A status or short text of the server."""
    return answer.decode("utf-8", "replace") if isinstance(answer, bytes) else str(answer)


def allowed(answer: Any) -> Any:
    """The answer of a command that the server's ACL may forbid; None: it does."""
    return None if isinstance(answer, ResponseError) else answer
