"""Keys of Celery's in the state role that somebody replaced by another type, and reading around them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar, cast

from redis import Redis
from redis.exceptions import ResponseError

from cache_admin import connections
from cache_admin.keys.names import code_of, shown
from cache_admin.traffic import queues

Read = TypeVar("Read")
#: Stands for the queues together: what workers hold of them is in two keys.
HELD = ""
WORDS = {"zset": "sorted set"}


@dataclass(frozen=True)
class Misfit:
    """A key that holds another type than Celery expects there."""

    key: str
    kind: str  #: as TYPE calls it: "string"
    wanted: str
    queue: str  #: the queue of which it is a part, or HELD

    @property
    def name(self) -> str:
        """The key as a page shows it; those of priorities hold bytes that no page can."""
        return shown(self.key.encode())

    @property
    def code(self) -> str:
        """The key in the address of its page."""
        return code_of(self.key.encode())

    @property
    def sentence(self) -> str:
        """What is wrong and what to do, after the key's name."""
        follows = (
            "workers fail when they take a task, of whatever queue"
            if self.queue == HELD
            else f"nothing can be sent to the queue {self.queue}, and workers fail when they take from it"
        )
        return (
            f"holds a {WORDS.get(self.kind, self.kind)}, where Celery keeps a "
            f"{WORDS.get(self.wanted, self.wanted)}: {follows}. See what it holds, then delete it: Celery "
            "makes it anew, and the ledger sends its jobs again."
        )


def find(server: Redis) -> list[Misfit]:
    """Those there are now. Raises redis.exceptions.RedisError."""
    unacked, index = queues.held_keys()
    wanted = [(key, "list", queue) for queue in queues.names() for key in queues.keys(queue)]
    wanted += [(unacked, "hash", HELD), (index, "zset", HELD)]
    pipeline = server.pipeline(transaction=False)
    for key, _, _ in wanted:
        pipeline.type(key)
    kinds = [kind.decode() for kind in cast("list[bytes]", pipeline.execute())]
    return [
        Misfit(key, kind, right, queue)
        for (key, right, queue), kind in zip(wanted, kinds, strict=True)
        if kind not in (right, "none")
    ]


def around(server: Redis, read: Callable[[frozenset[str]], Read]) -> tuple[Read, list[Misfit]]:
    """What `read` brings; it is told which queues, and whether HELD, it must leave out. And why.

    The types are looked at only after a reading has failed. Raises redis.exceptions.RedisError.
    """
    try:
        return read(frozenset()), []
    except ResponseError as error:
        if not connections.is_wrong_type(error):
            raise
    found = find(server)
    return read(frozenset(misfit.queue for misfit in found)), found
