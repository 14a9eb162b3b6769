"""What this app does for others that do not know it: keeps score for them, counts against limits, and
counts what becomes of Celery's messages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from arcweb import limited
from arcweb.leaderboards import scored
from cache_admin.structures import leaderboards, limits
from cache_admin.traffic import tally


def keep_score(sender: Any, board: str, points: Mapping[str, float], **kwargs: Any) -> None:
    leaderboards.bump(board, points)


def seconds_to_wait(name: str, identity: str) -> float:
    """Count one hit; 0 when it is allowed. A limit of a name that nobody registered raises KeyError."""
    limit = limits.find_limit(name)
    if limit is None:
        raise KeyError(f"No rate limit is named {name!r}.")
    return limit.hit(identity).retry_after


def connect() -> None:
    """When the app is ready; again does nothing."""
    scored.connect(keep_score, dispatch_uid="cache_admin.structures")
    limited.install(seconds_to_wait)
    tally.connect()
