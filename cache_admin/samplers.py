"""Samples of the two Redis servers."""

from __future__ import annotations

from functools import partial
from typing import Any

from arcweb.samples.registry import Sampler, register_sampler
from cache_admin import connections
from cache_admin.connections import ROLES, Role

#: Our name → that of INFO. The first four are levels, the others counters.
FIGURES = {
    "used_bytes": "used_memory",
    "max_bytes": "maxmemory",
    "clients": "connected_clients",
    "uptime": "uptime_in_seconds",
    "commands": "total_commands_processed",
    "hits": "keyspace_hits",
    "misses": "keyspace_misses",
    "evicted": "evicted_keys",
    "expired": "expired_keys",
    "received_bytes": "total_net_input_bytes",
    "sent_bytes": "total_net_output_bytes",
}


def figures(info: dict[str, Any]) -> dict[str, float]:
    """Our figures of what INFO says; `keys` is the sum over all databases of the server."""
    keys = [
        value["keys"] for name, value in info.items() if name.startswith("db") and isinstance(value, dict)
    ]
    taken: dict[str, float] = {name: info[figure] for name, figure in FIGURES.items() if figure in info}
    return {**taken, "keys": sum(keys)}


def take(role: Role) -> dict[str, float]:
    """Raises redis.exceptions.RedisError; within ARC_REDIS_TIMEOUT for each answer."""
    with connections.client(role) as client:
        return figures(client.info())


for _role in ROLES:
    register_sampler(Sampler(f"redis-{_role}", partial(take, _role), needs=(f"redis-{_role}",)))
