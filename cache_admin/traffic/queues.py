"""Celery's queues in Redis (state role): how long, how old, what waits, and how to empty one."""

from __future__ import annotations

import base64
import json
import re
import time
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from django.conf import settings
from django.utils.dateparse import parse_datetime
from redis import Redis

from arcweb.charts import quantity, size
from arcweb.events.sentences import describe
from arcweb.samples.series import Course, levels

describe("redis.queue_purged", "emptied the queue {object} of {messages} message(s)")

#: Messages that are looked into, and bytes up to which one is.
MOST_PEEKED = 25
LARGEST_PEEKED = 64 * 1024
#: Messages held by workers that are counted by queue.
MOST_HELD = 500
HOUR = timedelta(hours=1)
#: kombu keeps each priority in a list of its own.
PRIORITIES = ("", "\x06\x163", "\x06\x166", "\x06\x169")
ID = re.compile(r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}")
#: The last elements of a list, the next to be taken first; of a large one the beginning is not read at all.
PEEK = """
local shown = {}
for place = 1, math.min(redis.call('LLEN', KEYS[1]), tonumber(ARGV[1])) do
  local one = redis.call('LINDEX', KEYS[1], -place)
  if #one > tonumber(ARGV[2]) then one = false end
  shown[#shown + 1] = one
end
return shown
"""


@dataclass(frozen=True)
class Rates:
    """Messages of a queue per minute, over the last `minutes`. arrived: None where it is not known.

    done: by workers. dropped: expired before a worker took them, or the queue was emptied.
    """

    arrived: float | None
    done: float
    dropped: float
    minutes: float


@dataclass(frozen=True)
class Queue:
    """oldest: seconds that the next message has waited; None where it does not say when it was sent."""

    name: str
    waiting: int
    held: int | None  #: taken by a worker, not yet done; None where it is not known
    held_is_least: bool  #: more are held than were counted
    oldest: float | None
    course: Course  #: how many waited, over the last hour


@dataclass(frozen=True)
class Held:
    """What workers have taken and not finished. oldest: seconds since the first of them was taken."""

    total: int
    by_queue: dict[str, int]
    oldest: float | None


@dataclass(frozen=True)
class Argument:
    name: str
    shown: str


@dataclass(frozen=True)
class Message:
    """A task that waits. Its arguments are shown by kind and size only, ids as they are."""

    task: str
    id: str
    age: float | None  #: seconds since it was sent, if it says so
    due: datetime | None  #: not before
    expires: datetime | None
    retries: int
    origin: str
    arguments: tuple[Argument, ...]
    trouble: str = ""  #: why it cannot be read

    @property
    def expired(self) -> bool:
        return self.expires is not None and self.expires < datetime.now(UTC)


def names() -> list[str]:
    return list(settings.CELERY_TASK_QUEUES)


def keys(queue: str) -> list[str]:
    """The lists that a queue consists of."""
    return [f"{_prefix()}{queue}{suffix}" for suffix in PRIORITIES]


def held_keys() -> tuple[str, str]:
    """The hash of what workers hold, and the sorted set of when they took it."""
    return f"{_prefix()}unacked", f"{_prefix()}unacked_index"


def held(server: Redis) -> Held:
    """Raises redis.exceptions.RedisError."""
    unacked, index = held_keys()
    pipeline = server.pipeline(transaction=False)
    pipeline.hlen(unacked)
    pipeline.zrange(index, 0, 0, withscores=True)
    pipeline.hscan(unacked, count=MOST_HELD)
    pipeline.time()
    total, first, (_cursor, some), (seconds, _micro) = pipeline.execute()
    by_queue: dict[str, int] = {}
    for raw in list(some.values())[:MOST_HELD]:
        queue = _routed(raw)
        by_queue[queue] = by_queue.get(queue, 0) + 1
    return Held(total, by_queue, max(0.0, seconds - first[0][1]) if first else None)


def queues(server: Redis, taken: Held | None, without: Collection[str] = ()) -> list[Queue]:
    """Each queue that the settings name, but those `without`. Raises redis.exceptions.RedisError.

    taken: None where it is not known what workers hold.
    """
    courses = levels("celery", [f"waiting:{name}" for name in names()], HOUR)
    found = []
    for name in names():
        if name in without:
            continue
        waiting = length(server, name)
        first = next(iter(peek(server, name, 1)), None)
        key = f"waiting:{name}"
        found.append(
            Queue(
                name=name,
                waiting=waiting,
                held=None if taken is None else taken.by_queue.get(name, 0),
                held_is_least=taken is not None and taken.total > sum(taken.by_queue.values()),
                oldest=first.age if first else None,
                course=courses[key],
            )
        )
    return found


def length(server: Redis, queue: str) -> int:
    pipeline = server.pipeline(transaction=False)
    for key in keys(queue):
        pipeline.llen(key)
    return sum(cast("list[int]", pipeline.execute()))


def peek(server: Redis, queue: str, most: int = MOST_PEEKED) -> list[Message]:
    """What workers will take next, in that order; nothing is taken. Raises redis.exceptions.RedisError."""
    found: list[Message] = []
    for key in keys(queue):
        if len(found) < most:
            raw = cast("list[bytes | None]", server.eval(PEEK, 1, key, most - len(found), LARGEST_PEEKED))
            found += [read(one) for one in raw]
    return found


def purge(server: Redis, queue: str) -> int:
    """Drop what waits in the queue; how many messages that were. What workers hold stays with them."""
    pipeline = server.pipeline(transaction=True)
    for key in keys(queue):
        pipeline.llen(key)
    pipeline.unlink(*keys(queue))
    *counts, _unlinked = cast("list[int]", pipeline.execute())
    return sum(counts)


def read(raw: bytes | None) -> Message:
    """A message as kombu keeps it: JSON, the arguments in base64 within."""
    if raw is None:
        return _unreadable(f"larger than {size(LARGEST_PEEKED)}: not looked into")
    try:
        message = json.loads(raw)
        headers = message["headers"]
        body = json.loads(base64.b64decode(message["body"]))
        arguments, named, *_ = body
        shown = [Argument("", describe_value(one)) for one in arguments]
        shown += [Argument(_words(name, 60), describe_value(one)) for name, one in named.items()]
        sent = headers.get("arcweb_sent_at")
        return Message(
            task=_words(headers.get("task", "unknown"), 200),
            id=_words(headers.get("id", ""), 100),
            age=max(0.0, time.time() - sent) if isinstance(sent, int | float) else None,
            due=_moment(headers.get("eta")),
            expires=_moment(headers.get("expires")),
            retries=int(headers.get("retries") or 0),
            origin=_words(headers.get("origin") or "unknown", 100),
            arguments=tuple(shown),
        )
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError):
        return _unreadable("not a message of Celery's in JSON")


def describe_value(value: Any) -> str:
    """Kind and size of an argument; ids, which lead to what it is about, as they are."""
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    if isinstance(value, str):
        return value if ID.fullmatch(value) else f"text, {quantity(len(value), 'characters')}"
    if isinstance(value, int):
        return str(value) if abs(value) < 10**18 else "a very large number"
    if isinstance(value, float):
        return "a number with decimals"
    kind = "an object" if isinstance(value, dict) else "a list"
    return f"{kind}, {quantity(len(value), 'elements')}"


def _unreadable(trouble: str) -> Message:
    return Message("unknown", "", None, None, None, 0, "unknown", (), trouble)


def _moment(value: Any) -> datetime | None:
    moment = parse_datetime(value) if isinstance(value, str) else None
    return moment and (moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC))


def _words(value: Any, most: int) -> str:
    """Half a character, which JSON can hold and a page cannot, stays an escape."""
    return str(value)[:most].encode("utf-8", "backslashreplace").decode()


def _routed(raw: bytes) -> str:
    """The queue from which a held message was taken: kombu keeps [message, exchange, routing key]."""
    try:
        return str(json.loads(raw)[2])
    except (ValueError, TypeError, LookupError, RecursionError):
        return ""


def _prefix() -> str:
    return str(settings.CELERY_BROKER_TRANSPORT_OPTIONS["global_keyprefix"])
