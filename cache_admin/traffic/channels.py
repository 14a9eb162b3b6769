"""Channels of a server: who listens where, and a message to try them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.conf import settings
from redis import Redis

from arcweb.events.sentences import describe
from cache_admin.traffic import words

describe(
    "redis.published", "published a message of {bytes} bytes to the channel {object} of Redis ({role} role)"
)

#: Channels that are listed; a server with more than LISTABLE is not asked for their names at all, because
#: it has no way to tell some of them alone.
MOST_CHANNELS = 200
LISTABLE = 20_000
LONGEST_CHANNEL = 512
LONGEST_MESSAGE = 4096


@dataclass(frozen=True)
class Channel:
    name: str
    subscribers: int


@dataclass(frozen=True)
class Channels:
    """What is known of a server's channels."""

    shown: list[Channel]  #: those with most subscribers
    total: int
    patterns: int  #: different patterns that somebody subscribes to
    listed: bool  #: False: there are too many to ask for


def channels(server: Redis) -> Channels:
    """Raises redis.exceptions.RedisError."""
    stats: Any = server.info("stats")
    total, patterns = int(stats.get("pubsub_channels", 0)), int(stats.get("pubsub_patterns", 0))
    if total > LISTABLE:
        return Channels([], total, patterns, listed=False)
    names: list[bytes] = sorted(server.execute_command("PUBSUB", "CHANNELS"))
    counted: Any = server.execute_command("PUBSUB", "NUMSUB", *names) if names else []
    found = [
        Channel(words.word(name), int(number))
        for name, number in zip(counted[::2], counted[1::2], strict=True)
    ]
    found.sort(key=lambda channel: (-channel.subscribers, channel.name))
    return Channels(found[:MOST_CHANNELS], len(found), patterns, listed=True)


def why_not_to(channel: str) -> str:
    """Why nothing may be published there: a sentence; "" if it may."""
    prefix = str(settings.CELERY_BROKER_TRANSPORT_OPTIONS["global_keyprefix"])
    if not channel.strip():
        return "Name the channel."
    if len(channel.encode()) > LONGEST_CHANNEL:
        return f"The channel's name is longer than {LONGEST_CHANNEL} bytes."
    if channel.startswith((prefix, "/")) or "celery" in channel:
        return "That channel is Celery's: workers would stumble over a message that is none of theirs."
    if channel.startswith(("__keyspace@", "__keyevent@", "__sentinel__", "__redis__")):
        return "Only the server itself speaks on that channel; others act on what is said there."
    return ""


def publish(server: Redis, channel: str, message: str) -> int:
    """How many received it. Raises redis.exceptions.RedisError."""
    return int(server.publish(channel, message))
