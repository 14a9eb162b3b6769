"""Which numbered database a role has, and emptying that of the cache role."""

from __future__ import annotations

from redis import Redis

from arcweb.events import record
from arcweb.events.sentences import describe
from cache_admin import connections
from cache_admin.connections import Role, server_of

describe("redis.flushed", "emptied the database {database} of the cache role: {keys} key(s)")


def number(client: Redis) -> int:
    """The number of the database that the client's URL names."""
    return int(client.get_connection_kwargs().get("db") or 0)


def name(client: Redis) -> str:
    """ "db0", as INFO calls it."""
    return f"db{number(client)}"


def shared_with_state() -> bool:
    """Whether the cache role's database is the state role's too: then it must never be emptied."""
    with connections.client("cache") as cache, connections.client("state") as state:
        if number(cache) != number(state):
            return False
        if server_of(connections.url("cache")) == server_of(connections.url("state")):
            return True
        # Two names of one server (a socket and a port, two host names) have one run_id.
        return _run_id(cache) is not None and _run_id(cache) == _run_id(state)


def flush(role: Role) -> int:
    """Delete every key of the cache role's database, freeing the memory in the background; returns how many.

    The event is written first. Raises ValueError for the state role and for a shared database, and
    redis.exceptions.RedisError.
    """
    if role != "cache":
        raise ValueError("Only the database of the cache role may be emptied.")
    if shared_with_state():
        raise ValueError("The state role lives in the same database.")
    with connections.client(role) as client:
        keys = int(client.dbsize())
        record(
            "redis.flushed",
            object_type="redis.server",
            object_id=role,
            data={"database": name(client), "keys": keys},
        )
        client.flushdb(asynchronous=True)
        return keys


def _run_id(client: Redis) -> str | None:
    found = client.info("server").get("run_id")
    return None if found is None else str(found)
