"""System checks: each has an id and a hint that says what to do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Warning, register  # noqa: A004 - Django's name
from redis.exceptions import RedisError

from arcweb.redis_urls import password_of
from cache_admin import connections
from cache_admin.connections import ROLES, server_of
from cache_admin.server import eviction, purposes

#: Keys that a check looks at, and seconds that each answer of a server may take.
LOOKED_AT, SECONDS = 1000, 0.3


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


@register("redis")
def redis_asks_for_a_password(app_configs: Sequence[AppConfig] | None, **_options: Any) -> list[CheckMessage]:
    """arcweb.W003: whoever reaches the server is let in. Behind a socket its folder says who does."""
    if settings.ARC_EMBEDDED:
        return []
    variables = {connections.url(role): connections.VARIABLES[role] for role in reversed(ROLES)}
    return [
        Warning(
            f"{variable} holds no password. Whoever reaches the server reads and changes "
            "what is in it: sessions, queued tasks, locks.",
            hint="Give the server one (requirepass or an ACL), and the address: "
            "redis://:password@host:6379/0. `make generate-secrets` prints one.",
            id="arcweb.W003",
        )
        for url, variable in reversed(variables.items())
        if not url.startswith("unix:") and not password_of(url)
    ]


@register("redis")
def redis_evicts_nothing_dear(app_configs: Sequence[AppConfig] | None, **_options: Any) -> list[CheckMessage]:
    """arcweb.W002: a server may evict what no page can bring back. One that is away is passed over."""
    found: list[CheckMessage] = []
    for role in ROLES:
        try:
            with connections.client(role, timeout=min(SECONDS, settings.ARC_REDIS_TIMEOUT)) as client:
                info = client.info("memory")
                survey = purposes.survey(client, most=LOOKED_AT, seconds=SECONDS)
        except RedisError:
            continue
        verdict = eviction.verdict(role, info, survey)
        if verdict.word == eviction.UNSAFE:
            found.append(
                Warning(
                    f"Redis ({role} role at {connections.address(role)}): {verdict.sentence}",
                    hint="The page Redis, Eviction shows which keys are meant; Configuration changes the "
                    "policy.",
                    id="arcweb.W002",
                )
            )
    return found
