"""Keys whose names are too long for an address: found again by their beginning and digest."""

from __future__ import annotations

import hashlib
import threading
import time

from redis import Redis

from cache_admin import masking
from cache_admin.keys import names
from cache_admin.keys.elements import KeyGone
from cache_admin.keys.scan import Filters, batches

#: Seconds and keys for which such a name is looked for, and keys of one step.
SECONDS, KEYS, STEP = 0.6, 2_000_000, 250
#: Names that this process remembers, so that nobody looks for them again, and bytes of one at most.
MOST, LARGEST = 50, 64 * 1024


class NotMet(KeyGone):
    """It was not met in time; it may be there."""


class _Remembered:
    names: dict[str, bytes] = {}
    lock = threading.Lock()


def find(client: Redis, wanted: names.LongName) -> bytes:
    """The key's name. Raises KeyGone, NotMet among them, and redis.exceptions.RedisError.

    One that was found before is not looked for: whether it is still there shows when it is read.
    """
    if remembered := _Remembered.names.get(wanted.digest):
        return remembered
    started, looked_at = time.monotonic(), 0
    for _, found in batches(client, Filters(names.escaped(wanted.beginning) + b"*"), count=STEP):
        for key in found:
            if len(key) > names.LONGEST_IN_ADDRESS and hashlib.sha256(key).hexdigest() == wanted.digest:
                if masking.is_session(key):
                    raise KeyGone
                _remember(wanted.digest, key)
                return key
        looked_at += STEP
        if time.monotonic() - started > SECONDS or looked_at >= KEYS:
            raise NotMet
    raise KeyGone


def _remember(digest: str, key: bytes) -> None:
    if len(key) > LARGEST:
        return
    with _Remembered.lock:
        while len(_Remembered.names) >= MOST:
            del _Remembered.names[next(iter(_Remembered.names))]
        _Remembered.names[digest] = key
