"""The page Slow commands."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from redis import Redis

from arcweb.events.models import Event
from cache_admin.traffic import slow
from tests.people import client_of

pytestmark = pytest.mark.django_db
PAGE = "/redis/slow/"


@pytest.fixture
def everything_is_slow(cache: Redis) -> Iterator[None]:
    cache.config_set("slowlog-log-slower-than", 0)
    yield
    cache.config_set("slowlog-log-slower-than", 10_000)
    cache.slowlog_reset()


@pytest.mark.usefixtures("everything_is_slow")
def test_commands_are_grouped_by_shape_and_masked(cache: Redis) -> None:
    for number in range(5):
        cache.get(f"shape:{number}:name")
    cache.set("session:abcdefghijkl", "who is it", ex=60)
    cache.get('<script>alert("x")</script>')
    found = slow.grouped(slow.entries(cache, slow.SLOW, commandlog=False), "µs")
    mine = next(group for group in found if group.prefix == "shape:*")
    assert (mine.name, mine.arguments, mine.count) == ("GET", 1, 5)
    assert mine.clients == ["somebody"]
    said = client_of("viewer").get(PAGE).content.decode()
    assert "shape:*" in said
    assert "efghijkl" not in said
    assert "who is it" not in said
    assert "<script>alert" not in said


def test_shapes() -> None:
    assert slow.shape([b"config", b"GET", b"maxmemory"]) == ("CONFIG GET", 1, "")
    assert slow.shape([b"EVALSHA", b"abc", b"1", b"lock:1", b"t"]) == ("EVALSHA", 4, "lock:*")
    many = [b"DEL", *[b"user:%d" % number for number in range(30)], b"... (70 more arguments)"]
    assert slow.shape(many) == ("DEL", 100, "user:*")
    assert slow.shape([]) == ("nothing", 0, "")


@pytest.mark.usefixtures("everything_is_slow")
def test_the_log_is_emptied_by_its_typed_name(cache: Redis) -> None:
    cache.get("something")
    operator = client_of("operator")
    address = f"{PAGE}reset/?role=cache&log=slow"
    assert client_of("viewer").post(address, {"typed": "slow"}).status_code == 403
    operator.post(address, {"typed": "all"})
    assert not Event.objects.filter(kind="redis.slow_log_emptied").exists()
    cache.config_set("slowlog-log-slower-than", -1)
    assert slow.length(cache, slow.SLOW, commandlog=False) > 0
    operator.post(address, {"typed": "slow"})
    assert slow.length(cache, slow.SLOW, commandlog=False) == 0
    assert Event.objects.get(kind="redis.slow_log_emptied").data["entries"] > 0


def test_a_threshold_is_changed_after_its_difference_was_seen(cache: Redis) -> None:
    administrator = client_of("administrator")
    address = f"{PAGE}threshold/?role=cache&name=slowlog-log-slower-than&to=25000"
    assert client_of("operator").get(address).status_code == 403
    asked = administrator.get(address).content.decode()
    assert "10000" in asked
    assert "25000" in asked
    administrator.post(address, {"typed": "25000", "from": "1"})  # it was another when it was looked at
    assert cache.config_get("slowlog-log-slower-than")["slowlog-log-slower-than"] == "10000"
    try:
        administrator.post(address, {"typed": "25000", "from": "10000"})
        assert cache.config_get("slowlog-log-slower-than")["slowlog-log-slower-than"] == "25000"
    finally:
        cache.config_set("slowlog-log-slower-than", 10_000)
    event = Event.objects.get(kind="redis.configured")
    assert (event.data["old"], event.data["new"]) == ("10000", "25000")


@pytest.mark.parametrize(
    ("query", "status"),
    [("name=requirepass&to=1", 400), ("name=slowlog-log-slower-than&to=-2", 302), ("to=x", 400), ("", 400)],
)
def test_other_settings_and_numbers_are_refused(cache: Redis, query: str, status: int) -> None:
    assert client_of("administrator").get(f"{PAGE}threshold/?role=cache&{query}").status_code == status


def test_large_replies_of_valkey(cache: Redis) -> None:
    if "valkey_version" not in cache.info("server"):
        pytest.skip("COMMANDLOG is Valkey's")
    cache.config_set("commandlog-reply-larger-than", 1000)
    try:
        cache.set("large:1", "x" * 5000, ex=60)
        cache.get("large:1")
        said = client_of("viewer").get(PAGE, {"log": "large-reply"}).content.decode()
    finally:
        cache.config_set("commandlog-reply-larger-than", 1_048_576)
        cache.execute_command("COMMANDLOG", "RESET", "large-reply")
    assert "large:*" in said
    assert "4.9 kB" in said
    assert client_of("viewer").get(PAGE, {"log": "strange"}).status_code == 400


def test_statistics_and_latency(cache: Redis) -> None:
    cache.get("anything")
    found = slow.statistics(cache.info("commandstats"))
    assert "GET" in {command.name for command in found}
    assert 0 < sum(command.share for command in found) <= 100.1
    said = client_of("viewer").get(PAGE).content.decode()
    assert "Statistics by command" in said
    assert "LATENCY DOCTOR" in said
    cache.config_set("latency-monitor-threshold", 1)
    try:
        cache.execute_command("DEBUG", "SLEEP", "0.01") if cache.config_get("enable-debug-command").get(
            "enable-debug-command"
        ) == "yes" else cache.eval("local n = 0 for i = 1, 3000000 do n = n + i end return n", 0)
        said = client_of("viewer").get(PAGE).content.decode()
        assert "Table of delays" in said
    finally:
        cache.config_set("latency-monitor-threshold", 0)
        cache.execute_command("LATENCY", "RESET")
