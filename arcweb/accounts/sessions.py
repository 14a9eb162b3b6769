"""Sessions: Redis answers the read, PostgreSQL keeps them (SESSION_ENGINE = "arcweb.accounts.sessions").

Any error of Redis falls through to the database, so that its absence logs nobody out.
"""

from __future__ import annotations

import json
import logging
import re
import time
from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.contrib.sessions.backends.cached_db import SessionStore as CachedDbStore
from django.contrib.sessions.serializers import JSONSerializer
from django.core.cache import caches
from django_redis.cache import RedisCache
from redis.exceptions import RedisError

from arcweb import servers

logger = logging.getLogger(__name__)
#: Seconds for which an unreachable Redis is not asked again, so that a page pays one timeout, not three.
PAUSE = 1.0
LOG_EVERY = 60.0  # seconds
#: Keys remembered for Redis's return; the oldest are forgotten beyond it, and expire there by themselves.
MOST_OWED = 20_000


class _Health:
    """What this process knows about the session cache. Races between threads cost one more try or line."""

    paused_until = 0.0
    logged_at = float("-inf")
    #: Keys that were written or deleted while Redis was away: what it still holds of them is old.
    owed: dict[str, None] = {}

    @classmethod
    def paused(cls) -> bool:
        """Whether Redis is not asked: it is known to be away, or has just failed."""
        return servers.is_away("redis-cache") or time.monotonic() < cls.paused_until

    @classmethod
    def failed(cls, error: Exception) -> None:
        now = time.monotonic()
        cls.paused_until = now + PAUSE
        servers.suspect("redis-cache")
        if now - cls.logged_at >= LOG_EVERY:
            cls.logged_at = now
            logger.warning(
                "Redis (REDIS_URL) is away; sessions are read from PostgreSQL meanwhile: %s", error
            )

    @classmethod
    def owe(cls, key: str) -> None:
        cls.owed[key] = None
        while len(cls.owed) > MOST_OWED:
            cls.owed.pop(next(iter(cls.owed)), None)


class FallThroughCache:
    """The part of a cache that sessions use; a failing Redis looks like an empty one.

    While Redis is away nothing waits for it: what changed meanwhile is deleted there before the first read
    after its return, so that it is read anew from the database. Keys are bearer credentials: they are in
    no message.
    """

    def __init__(self, cache: RedisCache[Any]) -> None:
        self._cache = cache

    def get(self, key: str) -> Any:
        if _Health.paused():
            return None
        try:
            if owed := list(_Health.owed):
                self._cache.delete_many(owed)
                for paid in owed:
                    _Health.owed.pop(paid, None)
            return self._read(key)
        except (RedisError, OSError) as error:
            _Health.failed(error)
        except ValueError:
            logger.warning("A session in Redis is no JSON; it is read from PostgreSQL.")
        return None

    def _read(self, key: str) -> Any:
        """What django-redis's own get() returns, in half the time: sessions are read with every request.

        What it wrote is JSON by CACHES; ValueError where that is not so.
        """
        raw: bytes | None = self._cache.client.get_client(write=False).get(self._cache.make_key(key))
        return None if raw is None else json.loads(raw.decode())

    def __contains__(self, key: str) -> bool:
        return self.get(key) is not None

    def set(self, key: str, value: Any, timeout: float) -> None:
        self._change(key, lambda: self._cache.set(key, value, timeout))

    def delete(self, key: str) -> None:
        self._change(key, lambda: self._cache.delete(key))

    def _change(self, key: str, change: Callable[[], Any]) -> None:
        if _Health.paused():
            _Health.owe(key)
            return
        try:
            change()
        except (RedisError, OSError) as error:
            _Health.owe(key)
            _Health.failed(error)
        else:
            _Health.owed.pop(key, None)


#: What Django makes its keys of. A cookie may hold anything, and PostgreSQL refuses zero bytes.
KEY = re.compile(r"[a-z0-9]{8,40}")


class SessionStore(CachedDbStore):
    #: In the database too, whatever SESSION_SERIALIZER says.
    serializer = JSONSerializer

    def __init__(self, session_key: str | None = None) -> None:
        """What Django's own does, which is not called: it looks up the serializer by its name each time."""
        self._session_key = session_key if session_key and KEY.fullmatch(session_key) else None
        self.accessed = False
        self.modified = False
        self._cache: Any = FallThroughCache(caches[settings.SESSION_CACHE_ALIAS])

    def save(self, must_create: bool = False) -> None:
        if self.session_key is None:
            self.create()  # saves once; the inherited method would write to Redis twice
        else:
            super().save(must_create)

    def cycle_key(self) -> None:
        from arcweb.accounts import records  # models are not ready when settings name this module

        before = self.session_key
        super().cycle_key()
        if before:
            records.move(before, self.session_key)

    def flush(self) -> None:
        """Also the record ends, so that a copy that Redis gives back later lets nobody in."""
        from arcweb.accounts import records

        before = self.session_key
        super().flush()
        if before:
            records.close(before, records.End.REPLACED)

    def load(self) -> dict[str, Any]:
        """The session's data: one GET when Redis has it, else from the database, kept in Redis anew."""
        cached = self._cache.get(self.cache_key)
        if isinstance(cached, dict):
            return cached
        row = self._get_session_from_db()  # type: ignore[attr-defined]
        if row is None:
            return {}
        data: dict[str, Any] = self.decode(row.session_data)
        if not _Health.paused():
            self._cache.set(self.cache_key, data, self.get_expiry_age(expiry=row.expire_date))
        return data
