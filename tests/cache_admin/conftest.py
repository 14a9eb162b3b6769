"""These tests change settings, users and statistics of the two servers, which all test processes share."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator

import pytest
from django.conf import settings


@pytest.fixture(autouse=True)
def one_after_the_other() -> Iterator[None]:
    """Whatever process they run in."""
    with (settings.ARC_DATA_DIR / "redis-tests.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
