"""These tests change settings, users and statistics of the two servers, which all test processes share."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator

import pytest
from django.conf import settings
from redis import Redis


@pytest.fixture(autouse=True)
def one_after_the_other() -> Iterator[None]:
    """Whatever process they run in."""
    with (settings.ARC_DATA_DIR / "redis-tests.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def rules_known(admin: Redis, *rules: str) -> list[str]:
    """The ACL rules without those about commands that this product or version does not have."""
    commands = [rule.lstrip("+-") for rule in rules]
    found = admin.execute_command("COMMAND INFO", *commands)
    there = found.values() if isinstance(found, dict) else found
    return [
        rule
        for rule, command, known in zip(rules, commands, there, strict=True)
        if command.startswith("@") or known
    ]
