"""Handing over to redis-cli: the right server, and no password where other users see it."""

from __future__ import annotations

import pytest

from cache_admin.redis_cli import arguments


@pytest.mark.parametrize(
    ("url", "options", "password"),
    [
        ("redis://:p%40w@h:6380/2", "-h h -p 6380 -n 2", "p@w"),
        ("redis://h", "-h h -p 6379 -n 0", None),
        ("unix://:pw@/run/a.sock?db=3", "-s /run/a.sock -n 3", "pw"),
        (
            "rediss://me:pw@h/0?ssl_ca_certs=/ca.pem",
            "-h h -p 6379 -n 0 --tls --cacert /ca.pem --user me",
            "pw",
        ),
    ],
)
def test_a_url_becomes_options_and_environment(url: str, options: str, password: str | None) -> None:
    given, environment = arguments(url)
    assert " ".join(given) == options
    assert environment.get("REDISCLI_AUTH") == password
