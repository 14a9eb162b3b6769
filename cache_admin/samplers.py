"""Samples of the two Redis servers."""

from __future__ import annotations

import time
from contextlib import suppress
from functools import partial
from typing import Any

from redis.exceptions import ResponseError

from arcweb.samples.registry import Sampler, register_sampler
from cache_admin import connections
from cache_admin.connections import ROLES, SERVERS, Role
from cache_admin.server.purposes import survey

#: Keys looked at for each sample, and seconds given to that.
SURVEYED, SURVEY_SECONDS = 500, 0.1
#: Our name → that of INFO. The first six are levels, the others counters.
FIGURES = {
    "used_bytes": "used_memory",
    "max_bytes": "maxmemory",
    "clients": "connected_clients",
    "uptime": "uptime_in_seconds",
    "blocked": "blocked_clients",
    "fragmentation": "mem_fragmentation_ratio",
    "commands": "total_commands_processed",
    "hits": "keyspace_hits",
    "misses": "keyspace_misses",
    "evicted": "evicted_keys",
    "expired": "expired_keys",
    "received_bytes": "total_net_input_bytes",
    "sent_bytes": "total_net_output_bytes",
}


def figures(info: dict[str, Any]) -> dict[str, float]:
    """Our figures of what INFO says.

    keys: of all databases of the server. evicting: 1 where the policy may evict keys. unsaved: 1 after a
    failed write to the server's disk.
    """
    keys = [
        value["keys"] for name, value in info.items() if name.startswith("db") and isinstance(value, dict)
    ]
    taken: dict[str, float] = {name: info[figure] for name, figure in FIGURES.items() if figure in info}
    taken["keys"] = sum(keys)
    if policy := info.get("maxmemory_policy"):
        taken["evicting"] = policy != "noeviction"
    taken["unsaved"] = "err" in (info.get("aof_last_write_status"), info.get("rdb_last_bgsave_status"))
    return taken


def take(role: Role) -> dict[str, float]:
    """Raises redis.exceptions.RedisError; within ARC_REDIS_TIMEOUT for each answer.

    Beyond `figures`, latency_ms: of a PING from here; unsafe: keys among SURVEYED whose eviction breaks
    something.
    """
    with connections.client(role) as client:
        connections.ping(client)  # connects
        began = time.perf_counter()
        connections.ping(client)
        latency = time.perf_counter() - began
        taken = figures(client.info())
        taken["latency_ms"] = 1000 * latency
        with suppress(ResponseError):  # a user whose ACL lets it read INFO alone
            found = survey(client, most=SURVEYED, seconds=SURVEY_SECONDS)
            taken["unsafe"] = found.precious
        return taken


for _role in ROLES:
    register_sampler(Sampler(SERVERS[_role], partial(take, _role), needs=(SERVERS[_role],)))
