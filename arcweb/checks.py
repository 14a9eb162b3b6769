"""System checks: each has an id and a hint that says what to do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Warning, register  # noqa: A004 - Django's name

from cache_admin.connections import server_of


@register("redis")
def redis_roles_are_apart(app_configs: Sequence[AppConfig] | None, **_options: Any) -> list[CheckMessage]:
    """arcweb.W001: one Redis server has both roles."""
    server = server_of(settings.REDIS_URL)
    if server != server_of(settings.REDIS_STATE_URL):
        return []
    return [
        Warning(
            f"The cache and the state role share one Redis server, {server}. Short of memory, an evicting "
            "policy such as allkeys-lru drops queued tasks, locks, rate limits and leaderboards like any "
            "cached page; with noeviction, a full cache refuses new tasks.",
            hint="Set REDIS_STATE_URL to a second Redis server that has maxmemory-policy noeviction and "
            "appendonly yes.",
            id="arcweb.W001",
        )
    ]
