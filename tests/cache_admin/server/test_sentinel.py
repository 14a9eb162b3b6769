"""The settings for Sentinel in docs/REDIS.md: django-redis and Celery follow a primary that changes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from django.core.cache import caches
from django.test.utils import override_settings
from kombu.exceptions import OperationalError
from redis import Redis
from redis.exceptions import RedisError

from arcweb.embedded.processes import wait_until
from tests.cache_admin.nodes import PATIENCE, free_port, port_of, serving

PASSWORD = "of the server"
SERVICE = "mymaster"


@pytest.fixture
def sentinel(tmp_path: Path) -> Iterator[Redis]:
    """A Sentinel that watches a primary with one replica, all with passwords."""
    secured = ("--requirepass", PASSWORD, "--masterauth", PASSWORD, "--save", "")
    with ExitStack() as stack:
        primary, replica = (
            stack.enter_context(serving(tmp_path / name, *secured, password=PASSWORD)) for name in ("a", "b")
        )
        replica.replicaof("127.0.0.1", port_of(primary))  # type: ignore[arg-type]
        assert wait_until(lambda: replica.info("replication")["master_link_status"] == "up", PATIENCE)
        file = tmp_path / "sentinel.conf"
        file.write_text(
            f"sentinel monitor {SERVICE} 127.0.0.1 {port_of(primary)} 1\n"
            f'sentinel auth-pass {SERVICE} "{PASSWORD}"\n'
            # The failover is asked for: none may begin because the machine is busy, or be given up for that.
            f"sentinel down-after-milliseconds {SERVICE} 60000\nsentinel failover-timeout {SERVICE} 120000\n"
        )
        watcher = stack.enter_context(serving(tmp_path / "s", file, "--sentinel", port=free_port()))
        assert wait_until(lambda: master(watcher)["num-slaves"] == 1, PATIENCE)
        yield watcher


def master(sentinel: Redis) -> Any:
    return sentinel.sentinel_master(SERVICE)


def test_the_documented_settings_follow_the_primary(sentinel: Redis) -> None:
    cache = {
        "BACKEND": "django_redis.cache.RedisCache",
        "LOCATION": f"redis://{SERVICE}/0",
        "OPTIONS": {
            "CLIENT_CLASS": "django_redis.client.SentinelClient",
            "SENTINELS": [("127.0.0.1", port_of(sentinel))],
            "CONNECTION_POOL_CLASS": "redis.sentinel.SentinelConnectionPool",
            "PASSWORD": PASSWORD,
        },
    }
    broker = Celery(
        broker=f"sentinel://:{PASSWORD.replace(' ', '%20')}@127.0.0.1:{port_of(sentinel)}/0",
        set_as_current=False,
    )
    broker.conf.broker_transport_options = {"master_name": SERVICE}

    def written(value: str) -> bool:
        with suppress(RedisError, OSError):
            return bool(caches["default"].set("key", value))
        return False

    def sent() -> bool:
        with suppress(RedisError, OSError, OperationalError):
            with broker.connection_for_write(heartbeat=0) as connection:
                broker.send_task("any", connection=connection, queue="documented", retry=False)
            return True
        return False

    def promoted() -> bool:
        with suppress(RedisError):  # the Sentinel has not heard of the replica's state yet
            return bool(sentinel.execute_command("SENTINEL FAILOVER", SERVICE))
        return False

    with override_settings(
        CACHES={"default": cache},
        DJANGO_REDIS_CONNECTION_FACTORY="django_redis.pool.SentinelConnectionFactory",
    ):
        assert written("before")
        assert wait_until(lambda: caches["default"].get("key") == "before", PATIENCE)  # by the replica
        assert sent()
        replica = sentinel.sentinel_slaves(SERVICE)[0]["port"]
        with Redis(port=replica, password=PASSWORD) as there:  # what it has not got yet would be lost
            assert wait_until(lambda: there.llen("documented") == 1, PATIENCE)
        before = master(sentinel)["port"]
        assert wait_until(promoted, PATIENCE)
        assert wait_until(lambda: master(sentinel)["port"] != before, PATIENCE)
        assert wait_until(lambda: written("after"), PATIENCE)
        assert wait_until(sent, PATIENCE)
        with Redis(port=master(sentinel)["port"], password=PASSWORD) as primary:
            assert primary.info("replication")["role"] == "master"
            assert primary.exists(":1:key")
            assert primary.llen("documented") == 2
