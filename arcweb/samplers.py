"""Samples of PostgreSQL and of Celery's queues."""

from __future__ import annotations

from typing import Any, cast

from django.conf import settings
from django.db import connection

from arcweb.samples.registry import Sampler, register_sampler
from cache_admin import connections

# Levels: size, connections, transactions that have been open for long. The others are counters.
POSTGRES = """
    SELECT pg_database_size(datid) AS size_bytes,
           (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend') AS connections,
           current_setting('max_connections')::int AS max_connections,
           blks_hit AS blocks_hit, blks_read AS blocks_read, xact_commit AS commits,
           xact_rollback AS rollbacks, deadlocks, temp_bytes
    FROM pg_stat_database WHERE datname = current_database()
"""


def take_postgres() -> dict[str, float]:
    with connection.cursor() as cursor:
        cursor.execute(POSTGRES)
        names = [column.name for column in cursor.description]
        return dict(zip(names, cursor.fetchone(), strict=True))


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


register_sampler(Sampler("postgres", take_postgres))
register_sampler(Sampler("celery", take_celery, needs=("redis-state",)))
