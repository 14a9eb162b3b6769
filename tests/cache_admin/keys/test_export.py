"""Collections as files of JSON lines."""

from __future__ import annotations

import json
from typing import Any

import pytest
from redis import Redis

from arcweb.events.models import Event
from cache_admin.keys import export, values
from cache_admin.keys.secrecy import Rule
from tests.cache_admin.keys.test_pages import address
from tests.people import client_of

pytestmark = pytest.mark.django_db


def lines(key: bytes) -> list[Any]:
    file = client_of("viewer").get(address(key, "download"))
    assert file.status_code == 200
    assert file.headers["Content-Type"] == "application/jsonl"
    assert file.headers["Content-Disposition"].endswith('.jsonl"')
    return [json.loads(line) for line in b"".join(file.streaming_content).splitlines()]  # type: ignore[attr-defined]


def test_each_type_is_a_file_of_lines(cache: Redis) -> None:
    cache.hset("hash", mapping={"text": "ä\n", b"\xff": b"\x00\xfe"})
    cache.rpush("list", "first", b"\xff")
    cache.sadd("set", "only")
    cache.zadd("zset", {"low": float("-inf"), "high": 1.5})
    one = cache.xadd("stream", {"a": "1", "b": "2"}).decode()  # type: ignore[union-attr]
    assert lines(b"hash") == [
        {"field": "text", "value": "ä\n"},
        {"field": {"base64": "/w=="}, "value": {"base64": "AP4="}},
    ]
    assert lines(b"list") == [{"index": 0, "element": "first"}, {"index": 1, "element": {"base64": "/w=="}}]
    assert lines(b"set") == [{"member": "only"}]
    assert lines(b"zset") == [{"member": "low", "score": "-inf"}, {"member": "high", "score": 1.5}]
    assert lines(b"stream") == [{"id": one, "fields": [["a", "1"], ["b", "2"]]}]


@pytest.mark.parametrize("kind", ["hash", "list", "set", "zset", "stream"])
def test_a_large_one_is_whole_and_read_in_bounded_steps(cache: Redis, kind: str) -> None:
    with cache.pipeline() as pipe:
        for number in range(6_000):
            match kind:
                case "hash":
                    pipe.hset("big", f"f{number}", "x" * 100)
                case "list":
                    pipe.rpush("big", f"e{number}")
                case "set":
                    pipe.sadd("big", f"m{number}")
                case "zset":
                    pipe.zadd("big", {f"m{number}": number})
                case "stream":
                    pipe.xadd("big", {"n": number}, id=f"{number + 1}-0")
        pipe.execute()
    known = values.facts(cache, b"big")
    steps = list(export.lines(cache, b"big", known, Rule(b"big", kind, sees=True)))
    assert len(steps) >= 6
    assert max(len(step) for step in steps) < 600_000
    assert len({line for step in steps for line in step.splitlines()}) == 6_000


def test_a_file_is_on_record(cache: Redis) -> None:
    cache.sadd("set", "only")
    lines(b"set")
    [event] = Event.objects.filter(kind="redis.key_download")
    assert event.data == {"role": "cache", "type": "set"}


def test_a_file_breaks_off_when_its_key_goes(cache: Redis) -> None:
    cache.rpush("list", *map(str, range(5000)))
    file = client_of("viewer").get(address(b"list", "download"))
    steps = iter(file.streaming_content)  # type: ignore[attr-defined]
    next(steps)
    cache.delete("list")
    with pytest.raises(values.Torn):
        list(steps)


def test_elements_of_many_kilobytes_come_one_by_one(cache: Redis) -> None:
    cache.rpush("list", *(bytes([65 + number]) * 300_000 for number in range(5)))
    known = values.facts(cache, b"list")
    steps = list(export.lines(cache, b"list", known, Rule(b"list", "list", sees=True)))
    assert len(steps) == 5
