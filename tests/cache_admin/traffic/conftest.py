"""Connections to the real servers, and empty queues."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from redis import Redis

from cache_admin.connections import client
from cache_admin.traffic import clients, leases


@pytest.fixture
def cache(own_cache: None) -> Iterator[Redis]:
    """A cache role that no other test uses, by a connection that is none of the pages'."""
    with client("cache", client_name="somebody") as server:
        yield server


@pytest.fixture
def state() -> Iterator[Redis]:
    with client("state", client_name="somebody") as server:
        yield server


@pytest.fixture(autouse=True)
def _no_lease_stays(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """And none ends because a test is slow."""
    monkeypatch.setattr(leases, "UNWATCHED", 60.0)
    yield
    for lease in leases.running():
        lease.stop()


def named(server: Redis, name: str) -> int:
    """Connections of that name that the server has."""
    return sum(each.name == name for each in clients.listed(server))
