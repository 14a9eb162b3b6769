"""Connections to the real servers, and empty queues."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from redis import Redis

from cache_admin.connections import client
from cache_admin.traffic import clients, leases


@pytest.fixture
def cache() -> Iterator[Redis]:
    """The cache role, by a connection that is none of the pages'."""
    with client("cache", client_name="somebody") as server:
        yield server


@pytest.fixture
def state() -> Iterator[Redis]:
    with client("state", client_name="somebody") as server:
        yield server


@pytest.fixture(autouse=True)
def _no_lease_stays() -> Iterator[None]:
    yield
    for lease in leases.running():
        lease.stop()


def named(server: Redis, name: str) -> int:
    """Connections of that name that the server has."""
    return sum(each.name == name for each in clients.listed(server))
