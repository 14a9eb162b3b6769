"""The events of what people do to keys. Each is written before it is done: what it says was asked for."""

from __future__ import annotations

import hashlib
from typing import Any

from arcweb.events import record
from arcweb.events.sentences import describe
from cache_admin.connections import Role
from cache_admin.keys import names

describe("redis.key_edit", "changed the value of the Redis key {object} ({role} role), if nobody else had")
describe("redis.key_conflict", "did not change the Redis key {object}: somebody else had changed it first")
describe("redis.key_download", "took the value of the Redis key {object} ({role} role) as a file")
describe("redis.key_anew", "made the Redis key {object} ({role} role) anew, which had gone")
describe("redis.element_add", "added to the Redis key {object} ({role} role, {type})")
describe("redis.element_set", "changed a part of the Redis key {object} ({role} role, {type})")
describe("redis.element_remove", "removed a part of the Redis key {object} ({role} role, {type})")
describe("redis.key_expire", "let the Redis key {object} ({role} role) expire in {seconds} s")
describe("redis.key_persist", "let the Redis key {object} ({role} role) live until it is deleted")
describe("redis.key_rename", "renamed the Redis key {object} ({role} role), if the new name was free")
describe("redis.key_delete", "deleted the Redis key {object} ({role} role)")
describe("redis.keys_delete", "had {keys} Redis keys deleted that match {object} ({role} role)")
describe("redis.big_keys", "had the keys of the {role} role of Redis measured")


def note(kind: str, role: Role, key: bytes, **data: Any) -> None:
    """One key's. Its name may be a person's, so it stands where it can be erased."""
    mark = hashlib.sha256(key).hexdigest()[:16]
    record(
        kind,
        object_type="redis.key",
        object_id=f"{role}:{mark}",
        label=names.shown(key),
        data={"role": role, **data},
    )


def note_pattern(role: Role, pattern: str, keys: int) -> None:
    record(
        "redis.keys_delete",
        object_type="redis.keys",
        object_id=role,
        label=pattern,
        data={"role": role, "keys": keys},
    )


def note_survey(role: Role) -> None:
    record("redis.big_keys", object_type="redis.keys", object_id=role, data={"role": role})
