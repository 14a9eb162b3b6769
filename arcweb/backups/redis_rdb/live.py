"""The servers of the two Redis roles, as copies see them: who serves what, what they say of themselves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from django.conf import settings
from redis import Redis
from redis.exceptions import RedisError, ResponseError

from arcweb.backups.redis_rdb import disk
from arcweb.backups.redis_rdb.disk import Place
from arcweb.embedded.options import stack_from_settings
from arcweb.embedded.valkey import Valkey
from cache_admin import connections
from cache_admin.connections import ROLES, Role
from cache_admin.server.capabilities import identify

CLIENT_NAME = "arcweb-backup"
#: Seconds for an answer: a server that forks for a snapshot may be silent for a second or two.
ANSWER = 10.0
SOURCES: dict[Role, str] = {"cache": "redis-cache", "state": "redis-state"}
#: What of INFO persistence is kept in a manifest: name there → name here.
AOF = {
    "aof_enabled": "enabled",
    "aof_last_bgrewrite_status": "last_rewrite",
    "aof_last_write_status": "last_write",
    "aof_current_size": "bytes",
}


@dataclass(frozen=True)
class Live:
    """keyspace: database → {"keys", "expires"}; aof: see AOF; memory: bytes of data. Empty or 0: not told."""

    product: str
    version: str
    user: str
    mode: str = ""
    memory: int = 0
    databases: int = 0
    keyspace: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    aof: Mapping[str, Any] = field(default_factory=dict)

    @property
    def named(self) -> str:
        return f"{self.product} {self.version}".strip()


def role_of(source: str) -> Role:
    """ "redis-state" → "state". Raises KeyError."""
    return {name: role for role, name in SOURCES.items()}[source]


def client(role: Role) -> Redis:
    """For copies: patient, and of the protocol that a replica speaks. Close it, or use it in `with`."""
    return connections.client(role, timeout=ANSWER, client_name=CLIENT_NAME, protocol=2)


def roles_served_with(role: Role) -> list[Role]:
    """The roles whose data a copy of that role's server holds: both, where one server serves them."""
    other: Role = "state" if role == "cache" else "cache"
    return list(ROLES) if _one_server(role, other) else [role]


def sources() -> list[str]:
    """What is to be copied so that every role is: one of "redis-cache" and "redis-state" for each server."""
    return [SOURCES["state"]] if _one_server("cache", "state") else list(SOURCES.values())


def look(client: Redis) -> Live:
    """What the server says, as far as its ACL lets it. Raises redis.exceptions.RedisError when it is away."""
    connections.ping(client)
    server, memory = _section(client, "server"), _section(client, "memory")
    product, version = identify(server, client)
    return Live(
        product=product,
        version=version,
        user=_user(client),
        mode=str(server.get("redis_mode", server.get("server_mode", ""))),
        memory=int(memory.get("used_memory", 0)),
        databases=int(_setting(client, "databases") or 0),
        keyspace=keyspace(client),
        aof=_aof(client),
    )


def keyspace(client: Redis) -> dict[str, dict[str, int]]:
    """Keys of each database now, those with a time to live beside; {} where it is forbidden."""
    return {
        name.removeprefix("db"): {"keys": int(found["keys"]), "expires": int(found["expires"])}
        for name, found in _section(client, "keyspace").items()
        if name.startswith("db") and isinstance(found, dict)
    }


def place(role: Role, client: Redis) -> Place:
    """Where the role's server writes its RDB. Raises disk.NotHereError."""
    if (server := embedded(role)) is not None:
        return Place(server.folder / "dump.rdb", server.user)
    return disk.place(client, connections.url(role))


def embedded(role: Role) -> Valkey | None:
    """The embedded stack's server of that role, or None: another serves it."""
    if not settings.ARC_EMBEDDED:
        return None
    stack = stack_from_settings()
    found = [one for one in stack.servers if isinstance(one, Valkey) and one.role == role]
    return found[0] if found else None


def log(role: Role) -> str:
    """Where the server's log is, for people; "" where it is not known."""
    server = embedded(role)
    return str(server.log) if server is not None else ""


def _one_server(role: Role, other: Role) -> bool:
    if connections.address(role) == connections.address(other):
        return True
    return (mine := _run_id(role)) != "" and mine == _run_id(other)


def _run_id(role: Role) -> str:
    try:
        with client(role) as line:
            return str(line.info("server").get("run_id", ""))
    except RedisError:
        return ""


def _section(client: Redis, name: str) -> dict[str, Any]:
    try:
        return dict(client.info(name))
    except ResponseError:
        return {}


def _setting(client: Redis, name: str) -> str:
    try:
        found = client.config_get(name)
    except ResponseError:
        return ""
    return next((_text(value) for value in found.values()), "")


def _aof(client: Redis) -> dict[str, Any]:
    info = _section(client, "persistence")
    found = {mine: info[theirs] for theirs, mine in AOF.items() if theirs in info}
    if "enabled" in found:
        found["enabled"] = bool(found["enabled"])
    if said := _setting(client, "appendonly"):
        found["appendonly"] = said
    return found


def _user(client: Redis) -> str:
    try:
        return _text(client.execute_command("ACL WHOAMI"))
    except ResponseError:
        return str(client.get_connection_kwargs().get("username") or "default")


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
