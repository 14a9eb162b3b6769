"""Keys of one kind, found by SCAN within a bound of time: never KEYS."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from redis import Redis

#: Seconds that a page looks, keys that the server passes in one step, keys that are kept.
SECONDS = 0.25
STEP = 250
MOST = 500


@dataclass(frozen=True)
class Found:
    """Keys in the order of their names. `complete`: the whole database was looked through."""

    keys: tuple[bytes, ...]
    complete: bool
    total: int  #: keys of any kind in the database
    pattern: str  #: what was looked for, and of which type: who goes on looks for the same
    kind: str | None


def find(
    client: Redis,
    pattern: str,
    *,
    kind: str | None = None,
    keep: Callable[[bytes], bool] = lambda key: True,
    most: int = MOST,
    seconds: float = SECONDS,
) -> Found:
    """The keys that match the pattern, are of the type `kind` (None: any) and that `keep` takes.

    Ends after `seconds`, or with `most` keys. SCAN may repeat a key and give empty pages: neither shows.
    """
    end = time.monotonic() + seconds
    total = int(client.dbsize())
    found: set[bytes] = set()
    cursor = 0
    while True:
        cursor, page = client.scan(cursor, match=pattern, count=STEP, _type=kind)
        found.update(key for key in page if isinstance(key, bytes) and keep(key))
        complete = int(cursor) == 0
        if complete or len(found) > most or time.monotonic() > end:
            break
    return Found(tuple(sorted(found)[:most]), complete and len(found) <= most, total, pattern, kind)
