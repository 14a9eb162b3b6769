"""Leaderboards: sorted sets, those of this project and of other services."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from redis import Redis
from redis.exceptions import RedisError

from arcweb.leaderboards import Board, boards
from cache_admin.masking import is_session, text
from cache_admin.structures import locks
from cache_admin.structures.quick import ask
from cache_admin.structures.scan import Found, find

logger = logging.getLogger(__name__)
PREFIX = "arcweb:leaderboard:"
#: Members that a board of this project keeps: those of the highest scores.
MOST = 1000
#: Sorted sets that are something else: those of Celery's queues and of locks.
NO_BOARDS = (b"arcweb:celery:", locks.ABOUT.encode())
LOG_EVERY = 60.0  # seconds
#: Members above and below one whose place is asked for.
AROUND = 3


@dataclass(frozen=True)
class Entry:
    """A member at its place, from 1: that of the highest score."""

    place: int
    member: bytes
    score: float


@dataclass(frozen=True)
class Standing:
    """A board and its best."""

    key: bytes
    count: int
    ttl: float | None  #: seconds; None: it never expires
    top: tuple[Entry, ...]

    @property
    def board(self) -> Board | None:
        """That of this project, if it is one."""
        return next((board for board in boards() if key_of(board.name) == self.key), None)

    @property
    def title(self) -> str:
        return self.board.title if self.board else text(self.key)


def key_of(name: str) -> bytes:
    return f"{PREFIX}{name}".encode()


class _Said:
    at = float("-inf")


def bump(name: str, points: Mapping[str, float]) -> bool:
    """Add to the scores of members of the board `name`; whether that was done.

    Never raises for Redis, and never waits longer than a tenth of a second: what cannot be counted now is
    not. Beyond MOST members those of the lowest scores are forgotten, so that a newcomer to a full board
    has to have more than its last.
    """
    key = key_of(name)

    def add(client: Redis) -> None:
        pipe = client.pipeline(transaction=False)
        for member, by in points.items():
            pipe.zincrby(key, by, member)
        pipe.zremrangebyrank(key, 0, -MOST - 1)
        pipe.execute()

    try:
        ask(add, hurry=True)
    except RedisError as error:
        if time.monotonic() - _Said.at >= LOG_EVERY:
            _Said.at = time.monotonic()
            logger.warning("The leaderboard %s did not count: %s", name, error)
        return False
    return True


def is_board(key: bytes) -> bool:
    """Whether a sorted set of that name may be shown and changed as a leaderboard."""
    return bool(key) and not key.startswith(NO_BOARDS) and not is_session(key)


def boards_in(client: Redis, most: int) -> Found:
    """The sorted sets of the database, within a bound of time."""
    return find(client, "*", kind="zset", keep=is_board, most=most)


def standings(client: Redis, keys: Sequence[bytes], best: int) -> list[Standing]:
    """Those sorted sets with their first `best`, in one trip; what is none (any more) is left out."""
    pipe = client.pipeline(transaction=False)
    for key in keys:
        pipe.zcard(key)
        pipe.pttl(key)
        pipe.zrange(key, 0, best - 1, desc=True, withscores=True)
    answers: list[Any] = pipe.execute(raise_on_error=False) if keys else []
    found = []
    for position, key in enumerate(keys):
        count, ttl, top = answers[3 * position : 3 * position + 3]
        if isinstance(top, list) and count:
            found.append(Standing(key, count, None if ttl < 0 else ttl / 1000, _entries(top, 1)))
    return found


def top(client: Redis, key: bytes, n: int) -> tuple[Entry, ...]:
    """The first n."""
    return _entries(client.zrange(key, 0, n - 1, desc=True, withscores=True), 1)


def bottom(client: Redis, key: bytes, n: int, count: int) -> tuple[Entry, ...]:
    """The last n of `count`, in the order of their places."""
    found: Any = client.zrange(key, 0, n - 1, withscores=True)
    return _entries(found[::-1], max(0, count - len(found)) + 1)


def around(client: Redis, key: bytes, member: bytes) -> tuple[Entry, ...]:
    """The member at its place with its neighbours; empty when it is not on the board."""
    rank: Any = client.zrevrank(key, member)
    if rank is None:
        return ()
    first = max(0, rank - AROUND)
    return _entries(client.zrange(key, first, rank + AROUND, desc=True, withscores=True), first + 1)


def put(client: Redis, key: bytes, member: bytes, score: float) -> bool:
    """Set the member's score; whether it is new. Raises redis.exceptions.ResponseError where it cannot be."""
    return bool(client.zadd(key, {member: score}))


def increment(client: Redis, key: bytes, member: bytes, by: float) -> float:
    """Add to the member's score, from 0 for a new one; the score then."""
    score: Any = client.zincrby(key, by, member)
    return float(score)


def remove(client: Redis, key: bytes, member: bytes) -> bool:
    """Take the member off; whether it was there."""
    return bool(client.zrem(key, member))


def _entries(found: Any, first: int) -> tuple[Entry, ...]:
    return tuple(Entry(first + n, member, score) for n, (member, score) in enumerate(found))


def number(score: float) -> str:
    """A score for people: "1,234", "0.5", "unlimited" for what Redis calls inf."""
    if math.isinf(score):
        return "unlimited" if score > 0 else "below all"
    return f"{score:,.0f}" if score == int(score) and abs(score) < 1e15 else f"{score:,.6g}"
