"""Reading a server's settings and changing one: compared with what was seen, set, kept, told as an event."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from redis import Redis
from redis.exceptions import ResponseError

from arcweb.charts import size
from arcweb.events import record
from arcweb.events.sentences import describe
from cache_admin.connections import Role
from cache_admin.server.catalogue import PROTECTED, SECRET, SETTINGS, Advice, Setting, fitting, in_bytes, same

describe("redis.configured", "set {setting} of the {role} role from “{old}” to “{new}”")
describe("redis.configure_refused", "failed to set {setting} of the {role} role to “{new}”")
describe("redis.config_rewritten", "had the settings of the {role} role written to its file")


class ConfigError(Exception):
    """A setting was not changed; the message is a sentence."""


class ConflictError(ConfigError):
    """Somebody else changed it meanwhile."""


@dataclass(frozen=True)
class Line:
    """A setting as it stands."""

    setting: Setting
    current: str
    advice: Advice
    fits: bool | None  #: None: any will do

    @property
    def words(self) -> str:
        """Bytes for people, where the value is a number of them."""
        held = in_bytes(self.current) if self.setting.kind == "memory" else None
        return size(held) if held else ""


@dataclass(frozen=True)
class Locked:
    """A setting that no page changes."""

    name: str
    current: str
    why: str


def lines(role: Role, client: Redis) -> list[Line]:
    """Those that this server has, in the catalogue's order. Raises redis.exceptions.RedisError."""
    found = read(client, SETTINGS)
    return [
        Line(setting, found[name], setting.advice[role], fitting(setting, found[name], role))
        for name, setting in SETTINGS.items()
        if name in found
    ]


def protected(client: Redis) -> list[Locked]:
    """Those of PROTECTED that this server has; of a secret only whether it is set."""
    found = read(client, PROTECTED)
    return [
        Locked(name, ("set" if found[name] else "not set") if name in SECRET else found[name], why)
        for name, why in PROTECTED.items()
        if name in found
    ]


def read(client: Redis, names: Iterable[str]) -> dict[str, str]:
    """name → value of those that the server has. One round trip: Redis 6 takes one name each."""
    with client.pipeline(transaction=False) as pipe:
        for name in names:
            pipe.config_get(name)
        answers = pipe.execute()
    found: dict[str, str] = {}
    for answer in answers:
        found.update({_text(name): _text(value) for name, value in answer.items()})
    return found


def change(role: Role, client: Redis, setting: Setting, *, seen: str, value: str) -> str:
    """Set it, if it still is what the person saw; returns what the server made of the value.

    The event is written first. Raises ConflictError, ConfigError, and redis.exceptions.RedisError.
    """
    current = read(client, [setting.name]).get(setting.name)
    if current is None:
        raise ConfigError(f"This server has no setting {setting.name}.")
    if not same(setting, current, seen):
        raise ConflictError(
            f"{setting.name} was changed meanwhile, from “{seen}” to “{current}”. Look at it again."
        )
    facts: dict[str, Any] = {"setting": setting.name, "role": role, "old": current, "new": value}
    record("redis.configured", object_type="redis.server", object_id=role, data=facts)
    try:
        client.config_set(setting.name, value)
    except ResponseError as error:
        record(
            "redis.configure_refused", object_type="redis.server", object_id=role, data=facts, note=str(error)
        )
        raise ConfigError(f"The server refused it, and nothing changed: {error}.") from error
    return read(client, [setting.name]).get(setting.name, value)


def rewrite(role: Role, client: Redis) -> None:
    """Have the server write its present settings to its file. Raises ConfigError, RedisError."""
    record("redis.config_rewritten", object_type="redis.server", object_id=role, data={"role": role})
    try:
        client.config_rewrite()
    except ResponseError as error:
        raise ConfigError(
            f"It is set, and lasts until the server restarts: it could not write its file ({error})."
        ) from error


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
