"""An empty database of each role for every test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from redis import Redis

from cache_admin import connections


def emptied(role: connections.Role) -> Iterator[Redis]:
    with Redis.from_url(connections.url(role)) as server:
        server.flushdb()
        yield server
        server.flushdb()


@pytest.fixture
def cache() -> Iterator[Redis]:
    yield from emptied("cache")


@pytest.fixture
def state() -> Iterator[Redis]:
    yield from emptied("state")
