"""The spellings of a Redis address: what Celery gets, and what people see."""

from __future__ import annotations

import pytest
from django.conf import settings
from kombu import Connection
from redis import Redis
from redis.connection import parse_url

from arcweb.redis_urls import broker_url, password_of


@pytest.mark.parametrize("url", ["redis://:pw@host:6379/3", "rediss://user:pw@host/0", "redis://host"])
def test_celery_takes_network_addresses_as_they_are(url: str) -> None:
    assert broker_url(url) == url


@pytest.mark.parametrize("database", [0, 9])
def test_celery_and_redis_py_reach_the_same_database_behind_a_socket(database: int) -> None:
    url = settings.ARC_LAYOUT.redis_url("state").removesuffix("db=0") + f"db={database}"
    with Redis.from_url(url) as direct, Connection(broker_url(url)) as broker:
        broker.default_channel.client.set("arcweb:test:broker-url", database)
        try:
            assert direct.get("arcweb:test:broker-url") == str(database).encode()
        finally:
            direct.delete("arcweb:test:broker-url")


def test_a_socket_without_database_means_database_0() -> None:
    assert broker_url("unix://:pw@/run/a.sock") == "redis+socket://:pw@/run/a.sock?virtual_host=0"


def test_options_of_a_socket_address_are_kept() -> None:
    converted = broker_url("unix:///run/a.sock?db=1&timeout=2")
    assert converted.endswith("/run/a.sock?timeout=2&virtual_host=1")


@pytest.mark.parametrize(
    "url",
    [
        "redis://h/0", "redis://arc@h/0", "redis://:a%40b@h/0", "rediss://arc:a+b@h", "unix://:pw@/run/a.sock?db=1",
        "redis://h/0?password=a%40b", "redis://:one@h/0?password=two", "unix:///run/a.sock?password=x",
    ],
)  # fmt: skip
def test_the_password_of_an_address_is_the_one_that_redis_py_sends(url: str) -> None:
    assert password_of(url) == parse_url(url).get("password", "")
