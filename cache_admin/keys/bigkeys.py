"""Which keys, types and prefixes take the memory: what `redis-cli --bigkeys` and `--memkeys` tell."""

from __future__ import annotations

import heapq
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, cast

from redis import Redis
from redis.exceptions import NoPermissionError, RedisError, ResponseError

from cache_admin import masking
from cache_admin.keys import names
from cache_admin.keys.pacing import Pace, Progress, Wait, modestly
from cache_admin.keys.scan import COUNT, SAMPLES, Filters, batches, trips, words
from cache_admin.keys.values import LENGTHS

#: Keys and prefixes that a survey names; prefixes that it keeps apart while it counts.
TOP, TOP_OF_TYPE, PREFIXES = 40, 5, 10_000
OTHERS = "(other prefixes)"
NO_PREFIX = "(no prefix)"
#: TYPE and MEMORY USAGE … SAMPLES as the protocol has them, for a name's length and the name.
TYPE = b"*2\r\n$4\r\nTYPE\r\n$%d\r\n%b\r\n"
MEMORY = b"*5\r\n$6\r\nMEMORY\r\n$5\r\nUSAGE\r\n$%%d\r\n%%b\r\n$7\r\nSAMPLES\r\n$1\r\n%d\r\n" % SAMPLES
#: Pause after each chunk, as a share of the time it took.
PAUSE = 0.5


@dataclass
class Sum:
    """keys: how many; bytes: of memory, estimated for large collections by SAMPLES elements."""

    keys: int = 0
    bytes: int = 0

    def add(self, size: int) -> None:
        self.keys += 1
        self.bytes += size


@dataclass(frozen=True)
class BigKey:
    """code: of its address, "" for a session's key. length: of elements, None: unknown."""

    name: str
    code: str
    kind: str
    bytes: int
    length: int | None = None


@dataclass
class Survey:
    keys: int = 0
    bytes: int = 0
    seconds: float = 0.0
    types: dict[str, Sum] = field(default_factory=dict)
    prefixes: dict[str, Sum] = field(default_factory=dict)
    top: list[BigKey] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def survey(client: Redis, progress: Progress, wait: Wait) -> Survey:
    """Look at every key of the database once. Raises redis.exceptions.RedisError.

    Keys that SCAN brings twice are counted twice; it does so only while the server resizes its table.
    """
    started = time.monotonic()
    tally = _Tally()
    looked_at = total = 0
    pace = Pace(PAUSE, wait)
    with modestly(_tallied(client, tally)) as portions:
        for _ in portions:
            looked_at += COUNT
            if looked_at % (COUNT * 50) == 0 or not total:
                total = int(client.dbsize())
            progress(min(looked_at, total), total, "")
            pace.pause()
    progress(total, total, "")
    common = sorted(tally.prefixes.items(), key=lambda item: -item[1].bytes)[:TOP]
    return Survey(
        sum(one.keys for one in tally.types.values()),
        sum(one.bytes for one in tally.types.values()),
        time.monotonic() - started,
        dict(sorted(tally.types.items(), key=lambda item: -item[1].bytes)),
        {names.shown(prefix) or NO_PREFIX: one for prefix, one in common},
        _top(client, tally.heaps),
    )


@dataclass
class _Tally:
    """What was seen so far. heaps: of each type, its largest keys."""

    types: defaultdict[str, Sum] = field(default_factory=lambda: defaultdict(Sum))
    prefixes: defaultdict[bytes, Sum] = field(default_factory=lambda: defaultdict(Sum))
    heaps: defaultdict[str, list[tuple[int, bytes]]] = field(default_factory=lambda: defaultdict(list))

    def add(self, key: bytes, kind: str, size: int) -> None:
        self.types[kind].add(size)
        prefix = names.branch(key) or b""
        named = prefix in self.prefixes or len(self.prefixes) < PREFIXES
        self.prefixes[prefix if named else OTHERS.encode()].add(size)
        heap = self.heaps[kind]
        if len(heap) < TOP:
            heapq.heappush(heap, (size, key))
        elif size > heap[0][0]:
            heapq.heapreplace(heap, (size, key))


def _tallied(client: Redis, tally: _Tally) -> Iterator[None]:
    """Each step adds one portion of the keys."""
    for _, found in batches(client, Filters()):
        for key, kind, size in measure(client, found):
            tally.add(key, kind, size)
        yield


def measure(client: Redis, keys: Sequence[bytes]) -> Iterator[tuple[bytes, str, int]]:
    """Key, type and bytes of each that is still there. Raises redis.exceptions.RedisError."""
    for trip in trips(keys):
        kinds, taken = _ask(client, trip)
        for answer in (*kinds, *taken):
            if isinstance(answer, NoPermissionError):
                raise answer
        for key, kind, size in zip(trip, kinds, taken, strict=True):
            if isinstance(size, int) and not isinstance(kind, RedisError):
                yield key, words(kind), size


def _ask(client: Redis, keys: Sequence[bytes]) -> tuple[list[Any], list[Any]]:
    """Types and bytes of these keys, or why not, with one round trip."""
    # redis-py's pipeline costs four times as much, its packing alone twice; there may be a million keys.
    packed = b"".join([TYPE % (len(key), key) for key in keys] + [MEMORY % (len(key), key) for key in keys])
    connection = client.connection_pool.get_connection()
    try:
        connection.send_packed_command([packed])
        return [_answer(connection) for _ in keys], [_answer(connection) for _ in keys]
    except BaseException:
        connection.disconnect()  # answers may be left in it
        raise
    finally:
        client.connection_pool.release(connection)


def _answer(connection: Any) -> Any:
    try:
        return connection.read_response()
    except ResponseError as error:
        return error


def _top(client: Redis, heaps: Mapping[str, list[tuple[int, bytes]]]) -> list[BigKey]:
    """The largest of all, and some of each type, with how many elements they hold."""
    every = sorted(
        ((size, key, kind) for kind, heap in heaps.items() for size, key in heap), key=lambda one: -one[0]
    )
    per_type: defaultdict[str, int] = defaultdict(int)
    chosen = []
    for rank, (size, key, kind) in enumerate(every):
        per_type[kind] += 1
        if rank < TOP or per_type[kind] <= TOP_OF_TYPE:
            chosen.append((size, key, kind))
    lengths = []
    with client.pipeline(transaction=False) as pipe:
        for _, key, kind in chosen:
            pipe.execute_command(LENGTHS[kind][0] if kind in LENGTHS else "EXISTS", key)
        lengths = pipe.execute(raise_on_error=False)
    return [
        BigKey(
            names.shown(key),
            "" if masking.is_session(key) else names.code_of(key),
            kind,
            size,
            length if isinstance(length, int) and kind in LENGTHS else None,
        )
        for (size, key, kind), length in zip(chosen, lengths, strict=True)
    ]


def grown(now: Mapping[str, Any], before: Mapping[str, Any] | None) -> dict[str, int]:
    """By how many bytes each prefix of a survey (as JSON) grew since that one; new ones by all they have.

    Empty without an earlier one. A prefix that the earlier one did not name is left out if it named its most.
    """
    if not before:
        return {}
    earlier = cast("dict[str, dict[str, int]]", before.get("prefixes", {}))
    named_all = len(earlier) < TOP
    changes = {}
    for prefix, one in now.get("prefixes", {}).items():
        if prefix in earlier or named_all:
            changes[prefix] = one["bytes"] - earlier.get(prefix, {}).get("bytes", 0)
    return changes
