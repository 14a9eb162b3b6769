"""Changes of one key. Each says when the key was gone, or held something else than was seen."""

from __future__ import annotations

from typing import Any

from redis import Redis
from redis.exceptions import ResponseError, WatchError

from cache_admin.connections import is_wrong_type
from cache_admin.keys.elements import KeyGone
from cache_admin.keys.values import PREVIEW, digest_of

#: Seconds to live at most: ten years.
LONGEST_TTL = 10 * 366 * 86_400


class Changed(Exception):  # noqa: N818 - a fact, and no error
    """Somebody else changed the value since it was read. now: the beginning of what the key holds."""

    def __init__(self, now: bytes, *, whole: bool) -> None:
        super().__init__("The value was changed meanwhile.")
        self.now = now
        self.whole = whole


class NameTaken(Exception):  # noqa: N818
    """Another key has that name."""


def change(client: Redis, key: bytes, read: str, new: bytes) -> None:
    """Write a string's new value, keeping its expiry, if it is still the one whose digest is `read`.

    Raises Changed, KeyGone, redis.exceptions.RedisError; then nothing was written.
    """
    with client.pipeline(transaction=True) as pipe:
        pipe.watch(key)
        now = _beginning(pipe, key)
        if now is None:
            raise KeyGone
        if len(now) > PREVIEW or digest_of(now) != read:
            raise Changed(now[:PREVIEW], whole=len(now) <= PREVIEW)
        pipe.multi()
        pipe.execute_command("SET", key, new, "XX", "KEEPTTL")
        try:
            [written] = pipe.execute()
        except WatchError:
            written = False
    if written:
        return
    now = _beginning(client, key)
    if now is None:
        raise KeyGone
    raise Changed(now[:PREVIEW], whole=len(now) <= PREVIEW)


def create(client: Redis, key: bytes, new: bytes, seconds: int | None) -> None:
    """Make a key anew that had gone, for so many seconds (None: until it is deleted). Raises NameTaken."""
    life = () if seconds is None else ("EX", seconds)
    if not client.execute_command("SET", key, new, "NX", *life):
        raise NameTaken


def _beginning(client: Any, key: bytes) -> bytes | None:
    """One byte more than fits, so that a longer value is known as such; None: there is none, or no string."""
    if client.execute_command("EXISTS", key) == 0:
        return None
    try:
        answer: bytes = client.execute_command("GETRANGE", key, 0, PREVIEW)
    except ResponseError as error:
        if is_wrong_type(error):
            return None
        raise
    return answer


def expire(client: Redis, key: bytes, seconds: int) -> None:
    """Let the key live so many seconds from now. Raises KeyGone."""
    if not client.expire(key, seconds):
        raise KeyGone


def persist(client: Redis, key: bytes) -> None:
    """Let the key live until it is deleted. Raises KeyGone."""
    if not client.persist(key) and not client.exists(key):
        raise KeyGone


def rename(client: Redis, key: bytes, new: bytes) -> None:
    """Give the key another name, its expiry included. Raises NameTaken, KeyGone."""
    try:
        renamed = client.renamenx(key, new)
    except ResponseError as error:
        if "no such key" in str(error):
            raise KeyGone from error
        raise
    if not renamed:
        raise NameTaken


def delete(client: Redis, key: bytes) -> None:
    """Take the key away; its memory is freed in the background. Raises KeyGone."""
    if not client.unlink(key):
        raise KeyGone
