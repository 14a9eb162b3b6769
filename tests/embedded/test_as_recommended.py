"""What the embedded servers and the compose file set is what the page Configuration recommends."""

from __future__ import annotations

from collections.abc import Callable

from redis import Redis

from arcweb.embedded.stack import Stack
from cache_admin.connections import ROLES
from cache_admin.server import configuration
from cache_admin.server.catalogue import SETTINGS

#: What a fresh installation showed as other than recommended.
NAMES = ("stop-writes-on-bgsave-error", "latency-monitor-threshold")


def test_a_fresh_server_is_set_as_recommended(throwaway_stack: Callable[..., Stack]) -> None:
    stack = throwaway_stack(postgres=False)
    for role in ROLES:
        with Redis.from_url(stack.layout.redis_url(role)) as server:
            values = configuration.read(server, list(NAMES))
        assert values == {name: SETTINGS[name].advice[role].value for name in NAMES}
