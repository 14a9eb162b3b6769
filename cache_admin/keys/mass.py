"""All keys that match a pattern: counted exactly, and deleted in chunks. For jobs, as it takes seconds."""

from __future__ import annotations

import time
from array import array
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from redis import Redis

from cache_admin.keys import names
from cache_admin.keys.pacing import Pace, Progress, Wait
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
    seen = array("q")  # hashes: a set of a million names would take a hundred times the memory
    sample: list[str] = []
    precious: Counter[str] = Counter()
    looked_at = measured = total = 0
    size: int | None = 0
    pace = Pace(PAUSE, wait)
    for _, found in batches(client, Filters(pattern)):
        looked_at += COUNT
        for key in found:
            if (purpose := purpose_of(key)) in PRECIOUS:
                precious[purpose] += 1
            if len(sample) < SAMPLE and (words := names.shown(key)) not in sample:
                sample.append(words)
        asked = found if measured < MEASURED else found[:2]
        if size is not None and (more := _memory(client, asked)) is not None:
            size += more
            measured += len(asked)
        else:
            size = None
        seen.extend(hash(key) for key in found)
        if looked_at % (COUNT * 50) == 0 or not total:
            total = int(client.dbsize())
        progress(min(looked_at, total), total, f"{len(seen):,} match")
        pace.pause()
    keys = len(np.unique(np.frombuffer(seen, dtype=np.int64))) if seen else 0
    progress(total, total, f"{keys:,} match")
    estimate = round(size * keys / measured) if size is not None and measured else size
    return Count(keys, estimate, measured, dict(precious), sample, time.monotonic() - started)


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
    for _, found in batches(client, Filters(pattern)):
        looked_at += COUNT
        if deleted + len(found) > most:
            raise MoreThanConfirmedError(deleted)
        if found:
            deleted += int(client.unlink(*found))
        if not total:
            total = int(client.dbsize()) + deleted
        progress(min(looked_at, total), total, f"{deleted:,} deleted")
        pace.pause()
    progress(total, total, f"{deleted:,} deleted")
    return deleted
