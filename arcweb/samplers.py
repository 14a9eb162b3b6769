"""Samples of Celery's queues; those of PostgreSQL are taken in `arcweb.database.overview.samplers`."""

from __future__ import annotations

from typing import Any, cast

from django.conf import settings

from arcweb.database.overview.samplers import take_postgres
from arcweb.samples.registry import Sampler, register_sampler
from cache_admin import connections

__all__ = ["take_celery", "take_postgres"]


def take_celery() -> dict[str, float]:
    """Tasks that wait in each queue ("waiting:quick"), and those that a worker holds ("held").

    Raises redis.exceptions.RedisError.
    """
    prefix = settings.CELERY_BROKER_TRANSPORT_OPTIONS["global_keyprefix"]
    queues = list(settings.CELERY_TASK_QUEUES)
    with connections.client("state") as client:
        pipeline = client.pipeline(transaction=False)
        for queue in queues:
            pipeline.llen(f"{prefix}{queue}")
        pipeline.hlen(f"{prefix}unacked")
        *waiting, held = cast("list[Any]", pipeline.execute())
    return {**{f"waiting:{queue}": count for queue, count in zip(queues, waiting, strict=True)}, "held": held}


register_sampler(Sampler("celery", take_celery, needs=("redis-state",)))
