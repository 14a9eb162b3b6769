"""All keys that match a pattern: counted exactly, and deleted in chunks. For jobs, as it takes seconds."""

from __future__ import annotations

import time
from array import array
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from redis import Redis

from cache_admin.keys import names
from cache_admin.keys.scan import COUNT, SAMPLES, Filters, batches
from cache_admin.server.purposes import PRECIOUS, purpose_of

#: (keys looked at, keys in the database, words); may raise to stop the work.
Progress = Callable[[int, int, str], None]
#: Sleeps so many seconds; may raise to stop the work.
Wait = Callable[[float], None]
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
    for _, found in batches(client, Filters(pattern)):
        looked_at += COUNT
        chunk = time.monotonic()
        for key in found:
            if (purpose := purpose_of(key)) in PRECIOUS:
                precious[purpose] += 1
            if len(sample) < SAMPLE and (words := names.shown(key)) not in sample:
                sample.append(words)
        asked = found if measured < MEASURED else found[:2]
        if size is not None and asked:
            with client.pipeline(transaction=False) as pipe:
                for key in asked:
                    pipe.execute_command("MEMORY USAGE", key, "SAMPLES", SAMPLES)
                answers = pipe.execute(raise_on_error=False)
            if any(isinstance(answer, Exception) for answer in answers):
                size = None
            else:
                size += sum(answer or 0 for answer in answers)
                measured += len(asked)
        seen.extend(hash(key) for key in found)
        if looked_at % (COUNT * 50) == 0 or not total:
            total = int(client.dbsize())
        progress(min(looked_at, total), total, f"{len(seen):,} match")
        wait((time.monotonic() - chunk) * PAUSE)
    keys = len(np.unique(np.frombuffer(seen, dtype=np.int64))) if seen else 0
    progress(total, total, f"{keys:,} match")
    estimate = round(size * keys / measured) if size is not None and measured else size
    return Count(keys, estimate, measured, dict(precious), sample, time.monotonic() - started)


def delete(client: Redis, pattern: bytes, confirmed: int, progress: Progress, wait: Wait) -> int:
    """Delete what matches now; returns how many keys. Raises MoreThanConfirmedError, and what stops it."""
    most = confirmed + max(MORE_KEYS, int(confirmed * MORE_SHARE))
    looked_at = deleted = total = 0
    for _, found in batches(client, Filters(pattern)):
        chunk = time.monotonic()
        looked_at += COUNT
        if deleted + len(found) > most:
            raise MoreThanConfirmedError(deleted)
        if found:
            deleted += int(client.unlink(*found))
        if not total:
            total = int(client.dbsize()) + deleted
        progress(min(looked_at, total), total, f"{deleted:,} deleted")
        wait((time.monotonic() - chunk) * PAUSE)
    progress(total, total, f"{deleted:,} deleted")
    return deleted
