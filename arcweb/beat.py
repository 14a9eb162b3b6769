"""Celery's scheduler with a sign of life: a key in Redis (state role) that the prober reads."""

from __future__ import annotations

import logging
import time
from typing import Any

from celery.beat import PersistentScheduler
from django.conf import settings
from redis import Redis
from redis.exceptions import RedisError

from arcweb import paused
from cache_admin.connections import client

logger = logging.getLogger(__name__)
KEY = "arcweb:beat"
#: Seconds between two signs, and for which one is kept. Its age is told by what is left of that, so that
#: the clock of Redis alone counts.
SIGN_EVERY = 2.0
KEPT = 7 * 86_400


class SigningScheduler(PersistentScheduler):
    """`beat_scheduler = "arcweb.beat:SigningScheduler"`."""

    _signed = float("-inf")
    _client: Redis | None = None
    _failing = False

    def tick(self, *args: Any, **kwargs: Any) -> float:
        """One iteration; returns seconds until the next, at most SIGN_EVERY."""
        if time.monotonic() - self._signed >= SIGN_EVERY:
            self._sign()
        if paused.is_on(settings.ARC_BACKUP_DIR):
            return SIGN_EVERY
        wanted: float = super().tick(*args, **kwargs)
        return min(wanted, SIGN_EVERY)

    def _sign(self) -> None:
        self._signed = time.monotonic()
        self._client = self._client or client("state", client_name="arcweb-beat")
        try:
            self._client.set(KEY, "alive", ex=KEPT)
        except RedisError as error:
            # Beat itself waits for the broker and says so; the schedule must not stop for a sign.
            if not self._failing:
                logger.warning("Beat cannot leave its sign of life in Redis (REDIS_STATE_URL): %s", error)
            self._failing = True
        else:
            self._failing = False


def sign_age(state: Redis) -> float | None:
    """Seconds since beat's last sign of life; None when there is none. Raises redis.exceptions.RedisError."""
    left = int(state.pttl(KEY))
    return None if left < 0 else max(0.0, KEPT - left / 1000)
