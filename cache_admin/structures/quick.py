"""The state role as the helpers ask it: over kept connections, and not at all while it is known away."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import lru_cache
from typing import TypeVar

from django.conf import settings
from redis import Redis, exceptions

from arcweb import servers
from cache_admin import connections

T = TypeVar("T")
#: Seconds for which a server that failed is not asked again, so that a page pays one timeout.
PAUSE = 1.0
#: Seconds that whoever does not need the answer waits for it.
HURRY = 0.1


class KnownAwayError(exceptions.ConnectionError):
    """It was not asked: it is known to be away, or has just failed."""


class _Health:
    """Races between threads cost one more try."""

    paused_until = 0.0


@lru_cache(maxsize=8)
def _client(url: str, timeout: float) -> Redis:
    """url: so that other settings get another client. The pool is safe across threads and forks."""
    return connections.client("state", timeout=timeout, client_name="arcweb-structures")


def ask(work: Callable[[Redis], T], *, hurry: bool = False) -> T:
    """What `work` makes of a client of the state role.

    hurry: wait HURRY seconds at most, not ARC_REDIS_TIMEOUT. Raises redis.exceptions.RedisError: at once
    (KnownAwayError) while the server is known to be away, else after one timeout.
    """
    if servers.is_away("redis-state") or time.monotonic() < _Health.paused_until:
        raise KnownAwayError("it did not answer lately and is not asked again yet")
    seconds = min(HURRY, settings.ARC_REDIS_TIMEOUT) if hurry else settings.ARC_REDIS_TIMEOUT
    try:
        return work(_client(connections.url("state"), seconds))
    except (exceptions.ConnectionError, exceptions.TimeoutError):  # loading is one of them
        _Health.paused_until = time.monotonic() + PAUSE
        servers.suspect("redis-state")
        raise
