"""What became of Celery's messages, counted by queue in the state role: Celery itself keeps no such count.

Each worker adds one for each task that it has done, and for each that it dropped because it had expired;
who empties a queue adds what that dropped. What arrived follows: all that is gone, and what lies there more.
"""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from celery.signals import task_postrun, task_revoked
from redis import Redis
from redis.exceptions import RedisError, ResponseError

from arcweb.samples.registry import Sampler, register_sampler
from arcweb.samples.series import Reading, first_since, growth
from cache_admin import connections
from cache_admin.structures.quick import ask
from cache_admin.traffic import misfits, queues

KEY = "arcweb:queues:tally"
SOURCE = "queues"
#: The time over which rates are told, and the least that tells anything.
WINDOW, LEAST = timedelta(minutes=10), 50.0


def count(what: str, queue: str, messages: int = 1) -> None:
    """Add to "done" or "dropped". While Redis is away nothing is counted, and nothing comes anyway."""
    with suppress(RedisError):
        ask(lambda client: client.hincrby(KEY, f"{what}:{queue}", messages), hurry=True)


def _queue_of(request: Any) -> str:
    """The queue of a task's message; "" for a task that was run without one."""
    info: dict[str, Any] = getattr(request, "delivery_info", None) or {}
    name = "" if info.get("is_eager") else str(info.get("routing_key") or "")
    return name if name in queues.names() else ""


def _done(task: Any = None, **_more: Any) -> None:
    if queue := _queue_of(getattr(task, "request", None)):
        count("done", queue)


def _dropped(request: Any = None, **_more: Any) -> None:
    if queue := _queue_of(request):
        count("dropped", queue)


def connect() -> None:
    """When the app is ready; again does nothing."""
    task_postrun.connect(_done, weak=False, dispatch_uid="cache_admin.tally.done")
    task_revoked.connect(_dropped, weak=False, dispatch_uid="cache_admin.tally.dropped")


def read(server: Redis, without: Collection[str] = ()) -> dict[str, float]:
    """The counts ("done:quick") of every queue, and what lies there now ("waiting:…", "held:…").

    held is left out where more is held than is looked at; what was counted, where KEY is no hash any more;
    waiting and held `without` which it must do (see `misfits`). Raises redis.exceptions.RedisError.
    """
    counted = _counted(server)
    taken = None if misfits.HELD in without else queues.held(server)
    found: dict[str, float] = {}
    for queue in queues.names():
        if counted is not None:
            for what in ("done", "dropped"):
                said = counted.get(f"{what}:{queue}".encode(), b"")
                found[f"{what}:{queue}"] = int(said) if said.isdigit() else 0  # anybody may write there
        if queue not in without:
            found[f"waiting:{queue}"] = queues.length(server, queue)
        if taken is not None and taken.total == sum(taken.by_queue.values()):
            found[f"held:{queue}"] = taken.by_queue.get(queue, 0)
    return found


def _counted(server: Redis) -> dict[bytes, bytes] | None:
    """None: somebody put something else in its place."""
    try:
        return cast("dict[bytes, bytes]", server.hgetall(KEY))
    except ResponseError as error:
        if not connections.is_wrong_type(error):
            raise
        return None


def take() -> dict[str, float]:
    with connections.client("state") as server:
        return misfits.around(server, lambda without: read(server, without))[0]


def since() -> Reading | None:
    """The sample with which the present is compared; None: there is none that is old enough."""
    before = first_since(SOURCE, datetime.now(UTC) - WINDOW)
    return before if before is not None and before.age >= LEAST else None


def rates(queue: str, before: Reading, now: dict[str, float]) -> queues.Rates | None:
    """Messages per minute; None where the sample, or the present, does not know the queue."""
    names = [f"{what}:{queue}" for what in ("done", "dropped", "waiting")]
    if not all(name in before.values and name in now for name in names):
        return None
    minutes = before.age / 60
    done = growth(before.get(names[0]), now[names[0]])
    dropped = growth(before.get(names[1]), now[names[1]])
    arrived = None
    held = f"held:{queue}"
    if held in before.values and held in now:
        lying = now[names[2]] - before.get(names[2]) + now[held] - before.get(held)
        arrived = max(0.0, done + dropped + lying) / minutes
    return queues.Rates(arrived, done / minutes, dropped / minutes, minutes)


register_sampler(Sampler(SOURCE, take, needs=("redis-state",)))
