"""Locks on the state role: redis-py's lock with a timeout that must be, an owner, and a fencing number.

    with locks.lock("nightly-report", timeout=30, wait=5) as held:
        write(report, fence=held.fence)

A lock that ran out is another's at once, and its first holder does not notice: it may have been stopped,
or waited for a disk. Deleting its key does not stop it either. So every lock that is given has a number
above all earlier ones: whoever stores the work refuses a number below the highest that it has seen.

The number rises through a lost counter too: it is at least the server's time in milliseconds.
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import lru_cache
from types import TracebackType
from typing import Any, Self

from redis import Redis
from redis.commands.core import Script
from redis.exceptions import LockError, LockNotOwnedError
from redis.lock import Lock as RedisLock

from cache_admin import connections
from cache_admin.masking import text
from cache_admin.structures import scan
from cache_admin.structures.scan import Found

__all__ = ["Held", "Lock", "LockError", "LockNotOwnedError", "find", "force_release", "lock", "read"]

PREFIX = "arcweb:lock:"
#: What is kept about locks.
ABOUT = "arcweb:locks:"
#: The counter behind the fencing numbers of all locks: never expires, or the numbers would fall.
FENCE = f"{ABOUT}fence"
WAITERS = f"{ABOUT}waiters:"
#: The keys taken last, by when: so that they are found among millions of others. Bounded by MOST_LISTED.
LISTED = f"{ABOUT}listed"
MOST_LISTED = 1000
#: Seconds after which one who waited and died is no longer counted.
WAITER_SECONDS = 5
LONGEST_OWNER = 200
#: Bytes of a lock's value that are read; others may keep anything in it.
MOST_READ = 1024

#: KEYS: lock, fence, waiters, list. ARGV: token, owner, milliseconds, the waiter ("": it does not wait).
#: Returns the value that was set, by which the lock is released, or nothing.
TAKE = """
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
if redis.call('EXISTS', KEYS[1]) == 1 then
    if ARGV[4] ~= '' then
        redis.call('ZADD', KEYS[3], now, ARGV[4])
        redis.call('PEXPIRE', KEYS[3], %(waiter_ms)d)
    end
    return false
end
local fence = redis.call('INCR', KEYS[2])
if fence < now then
    fence = now
    redis.call('SET', KEYS[2], string.format('%%.0f', fence))
end
local value = cjson.encode({
    token = ARGV[1], owner = ARGV[2],
    since = string.format('%%.0f', now), fence = string.format('%%.0f', fence)
})
redis.call('SET', KEYS[1], value, 'PX', ARGV[3])
redis.call('ZADD', KEYS[4], now, KEYS[1])
redis.call('ZREMRANGEBYRANK', KEYS[4], 0, %(listed)d)
if ARGV[4] ~= '' then
    redis.call('ZREM', KEYS[3], ARGV[4])
end
return value
""" % {"waiter_ms": WAITER_SECONDS * 1000, "listed": -MOST_LISTED - 1}  # noqa: UP031 - Lua's braces and format()'s would fight

#: KEYS: lock. ARGV: sha1 of the value that the holder had.
FORCE = """
local value = redis.call('GET', KEYS[1])
if value and redis.sha1hex(value) == ARGV[1] then
    return redis.call('DEL', KEYS[1])
end
return 0
"""


@lru_cache(maxsize=1)
def _take() -> Script:
    """Sent by its hash, and in full when the server does not know it."""
    return Script(Redis(), TAKE)  # the client is only asked for its encoding


class Lock(RedisLock):
    """One lock, taken and released by the thread that made it; see `lock`.

    `acquire` returns whether it was taken, `release` and `extend(seconds)` raise LockNotOwnedError when it
    ran out and may be another's. In `with` it raises LockError when it cannot be had in time.
    """

    def __init__(self, client: Redis, name: str, *, timeout: float, wait: float, owner: str) -> None:
        if not timeout > 0:
            raise ValueError(f"The lock {name} needs a timeout above 0 s: its holder may die.")
        super().__init__(
            client, f"{PREFIX}{name}", timeout=timeout, blocking=wait > 0, blocking_timeout=wait, sleep=0.05
        )
        self.owner = (owner or default_owner())[:LONGEST_OWNER]
        self._milliseconds = max(1, int(timeout * 1000))
        self._waiters = f"{WAITERS}{name}"
        self._waiter = uuid.uuid4().hex if wait > 0 else ""

    @property
    def fence(self) -> int:
        """The fencing number: above that of every holder before. Raises LockError while it is not held."""
        fence: int | None = getattr(self.local, "fence", None)
        if fence is None:
            raise LockError(f"The lock {self.name} is not held, so it has no number.", lock_name=self.name)
        return fence

    def acquire(self, *args: Any, **kwargs: Any) -> bool:
        if not super().acquire(*args, **kwargs):
            return False
        self.local.token = self.local.value  # compared by redis-py's scripts, which know nothing of ours
        return True

    def do_acquire(self, token: Any) -> bool:
        value = _take()(
            keys=[self.name, FENCE, self._waiters, LISTED],
            args=[token, self.owner, self._milliseconds, self._waiter],
            client=self.redis,
        )
        if value is None:
            return False
        self.local.value = bytes(value)
        self.local.fence = int(json.loads(value)["fence"])
        return True

    def release(self) -> None:
        self.local.fence = None
        super().release()

    def __enter__(self) -> Self:
        try:
            super().__enter__()
        except BaseException:
            self.redis.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            super().__exit__(kind, error, traceback)
        finally:
            self.redis.close()


def lock(name: str, *, timeout: float, wait: float = 0, owner: str = "") -> Lock:
    """A lock of that name on the state role, not taken yet.

    timeout: seconds after which it is free again, whatever became of its holder; `extend` adds to them.
    wait: seconds to wait for it; 0 tries once. owner: who holds it, for people; default host:process.
    Without Redis there is no lock: redis.exceptions.RedisError passes through.
    """
    return Lock(connections.client("state"), name, timeout=timeout, wait=wait, owner=owner)


def default_owner() -> str:
    return f"{socket.gethostname()}:{os.getpid()}"


@dataclass(frozen=True)
class Held:
    """A held lock. What its holder did not write is None: of a plain lock, all but name, owner and TTL."""

    key: bytes
    owner: str
    digest: str  #: sha1 of its value: of this holder and no other; "" where the value is too long to be read
    ttl: float | None  #: seconds; None: it never runs out
    age: float | None = None  #: seconds
    fence: int | None = None
    waiters: int | None = None

    @property
    def ours(self) -> bool:
        """Whether it was taken by this helper."""
        return self.key.startswith(PREFIX.encode())


def find(client: Redis, most: int, *, seconds: float = scan.SECONDS) -> Found:
    """The keys of held locks: this helper's by their list, the others within a bound of time."""
    listed: Any = client.zrange(LISTED, 0, MOST_LISTED - 1, desc=True)
    scanned = scan.find(client, "*lock:*", kind="string", keep=is_lock, most=most, seconds=seconds)
    pipe = client.pipeline(transaction=False)
    for key in listed:
        pipe.exists(key)
    there = [key for key, exists in zip(listed, pipe.execute(), strict=True) if exists]
    keys = dict.fromkeys([*there, *scanned.keys])
    return replace(scanned, keys=tuple(sorted(keys)[:most]), complete=scanned.complete and len(keys) <= most)


def is_lock(key: bytes) -> bool:
    """Whether a key is a lock by its name: this helper's, or the plain lock:* of other services."""
    return key.startswith((PREFIX.encode(), b"lock:"))


def read(client: Redis, keys: Iterable[bytes]) -> list[Held]:
    """The locks behind those keys, in two trips; those that ran out meanwhile are left out."""
    names = list(keys)
    if not names:
        return []
    seconds, micros = client.time()
    now = seconds * 1000 + micros // 1000
    pipe = client.pipeline(transaction=False)
    for key in names:
        pipe.getrange(key, 0, MOST_READ)
        pipe.pttl(key)
        waiters = WAITERS.encode() + key.removeprefix(PREFIX.encode())
        pipe.zcount(waiters, now - WAITER_SECONDS * 1000, "+inf")
    answers = pipe.execute(raise_on_error=False)
    found = []
    for position, key in enumerate(names):
        value, ttl, waiting = answers[3 * position : 3 * position + 3]
        if not isinstance(value, bytes) or not isinstance(ttl, int) or ttl == -2:
            continue
        seconds_left = None if ttl < 0 else ttl / 1000
        found.append(_held(key, value, seconds_left, waiting if isinstance(waiting, int) else None, now))
    return found


def _held(key: bytes, value: bytes, ttl: float | None, waiters: int | None, now: int) -> Held:
    whole = len(value) <= MOST_READ
    digest = hashlib.sha1(value, usedforsecurity=False).hexdigest() if whole else ""
    if key.startswith(PREFIX.encode()):
        try:
            said = json.loads(value)
            age = max(0, now - int(said["since"])) / 1000
            return Held(key, text(str(said["owner"]).encode()), digest, ttl, age, int(said["fence"]), waiters)
        except (ValueError, KeyError, TypeError):
            pass  # somebody else wrote there: shown as a plain lock
    return Held(key, text(value[:LONGEST_OWNER]), digest, ttl)


def force_release(client: Redis, key: bytes, digest: str) -> bool:
    """Delete the lock if it is still that holder's (`Held.digest`); whether it was. The holder runs on."""
    return bool(client.eval(FORCE, 1, key, digest))
