"""What the embedded servers and the compose file set is what the page Configuration recommends."""

from __future__ import annotations

import pytest
from redis import Redis

from cache_admin import connections
from cache_admin.connections import ROLES, Role
from cache_admin.server import configuration
from cache_admin.server.catalogue import SETTINGS

#: What a fresh installation showed as other than recommended.
NAMES = ("stop-writes-on-bgsave-error", "latency-monitor-threshold")


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("name", NAMES)
def test_a_fresh_server_is_set_as_recommended(role: Role, name: str) -> None:
    with Redis.from_url(connections.url(role)) as server:
        value = configuration.read(server, [name])[name]
    assert value == SETTINGS[name].advice[role].value
