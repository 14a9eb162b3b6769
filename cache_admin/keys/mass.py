"""All keys that match a pattern: counted exactly, and deleted in chunks. For jobs, as it takes seconds."""

from __future__ import annotations

import time
from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from redis import Redis

from cache_admin.keys import names
from cache_admin.keys.pacing import Pace, Progress, Wait, modestly
from cache_admin.keys.scan import COUNT, SAMPLES, Filters, batches, trips
from cache_admin.server.purposes import PRECIOUS, purpose_of

#: Names on the page, and keys whose memory is asked.
SAMPLE, MEASURED = 20, 1_000
#: Pause after each chunk, as a share of the time it took: others get the server's other half.
PAUSE = 1.0
#: More keys than were confirmed by this share, or this number, and the deletion stops.
MORE_SHARE, MORE_KEYS = 0.1, 100


class MoreThanConfirmedError(Exception):
    """Deletion stopped: keys were added that match."""

    def __init__(self, deleted: int) -> None:
        super().__init__(
            f"{deleted:,} keys were deleted; then it stopped, because more keys match than were confirmed. "
            "Count them again."
        )
        self.deleted = deleted


@dataclass(frozen=True)
class Count:
    """What a pattern matches. bytes: memory, None: unknown; measured: keys it was asked of.

    precious: by purpose, keys whose loss would be felt (`cache_admin.server.purposes`).
    """

    keys: int
    bytes: int | None
    measured: int
    precious: dict[str, int]
    sample: list[str]
    seconds: float

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def count(client: Redis, pattern: bytes, progress: Progress, wait: Wait) -> Count:
    """Each key that was there all the time is counted once. Raises redis.exceptions.RedisError."""
    started = time.monotonic()
    tally = _Tally()
    looked_at = total = 0
    pace = Pace(PAUSE, wait)
    with modestly(_counted(client, pattern, tally)) as portions:
        for matched in portions:
            looked_at += COUNT
            if looked_at % (COUNT * 50) == 0 or not total:
                total = int(client.dbsize())
            progress(min(looked_at, total), total, f"{matched:,} match")
            pace.pause()
    keys = tally.keys
    progress(total, total, f"{keys:,} match")
    known, measured = tally.bytes, tally.measured
    estimate = round(known * keys / measured) if known is not None and measured else known
    return Count(keys, estimate, measured, dict(tally.precious), tally.sample, time.monotonic() - started)


@dataclass
class _Tally:
    """What was counted so far. bytes: of the keys that were measured, None: the server does not tell."""

    hashes: array[int] = field(default_factory=lambda: array("q"))  # names would take a hundred times as much
    keys: int = 0  #: each once, known at the end
    sample: list[str] = field(default_factory=list)
    precious: Counter[str] = field(default_factory=Counter)
    bytes: int | None = 0
    measured: int = 0


def _counted(client: Redis, pattern: bytes, tally: _Tally) -> Iterator[int]:
    """Keys that matched so far, some twice, after each portion."""
    for _, found in batches(client, Filters(pattern)):
        for key in found:
            if (purpose := purpose_of(key)) in PRECIOUS:
                tally.precious[purpose] += 1
            if len(tally.sample) < SAMPLE and (words := names.shown(key)) not in tally.sample:
                tally.sample.append(words)
        asked = found if tally.measured < MEASURED else found[:2]
        if tally.bytes is not None and (more := _memory(client, asked)) is not None:
            tally.bytes += more
            tally.measured += len(asked)
        else:
            tally.bytes = None
        tally.hashes.extend(hash(key) for key in found)
        yield len(tally.hashes)
    tally.keys = len(np.unique(np.frombuffer(tally.hashes, dtype=np.int64))) if tally.hashes else 0


def _memory(client: Redis, keys: Sequence[bytes]) -> int | None:
    """Bytes of these keys together; None: the server does not tell."""
    size = 0
    with client.pipeline(transaction=False) as pipe:
        for trip in trips(keys):
            for key in trip:
                pipe.execute_command("MEMORY USAGE", key, "SAMPLES", SAMPLES)
            for answer in pipe.execute(raise_on_error=False):
                if isinstance(answer, Exception):
                    return None
                size += answer or 0
    return size


def delete(client: Redis, pattern: bytes, confirmed: int, progress: Progress, wait: Wait) -> int:
    """Delete what matches now; returns how many keys. Raises MoreThanConfirmedError, and what stops it."""
    most = confirmed + max(MORE_KEYS, int(confirmed * MORE_SHARE))
    looked_at = deleted = total = 0
    pace = Pace(PAUSE, wait)
    with modestly(_deleted(client, pattern, most)) as portions:
        for deleted in portions:
            looked_at += COUNT
            if not total:
                total = int(client.dbsize()) + deleted
            progress(min(looked_at, total), total, f"{deleted:,} deleted")
            pace.pause()
    progress(total, total, f"{deleted:,} deleted")
    return deleted


def _deleted(client: Redis, pattern: bytes, most: int) -> Iterator[int]:
    """Keys deleted so far, after each portion. Raises MoreThanConfirmedError before they exceed `most`."""
    deleted = 0
    for _, found in batches(client, Filters(pattern)):
        if deleted + len(found) > most:
            raise MoreThanConfirmedError(deleted)
        if found:
            deleted += int(client.unlink(*found))
        yield deleted
