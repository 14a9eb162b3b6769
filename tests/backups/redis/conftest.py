"""Servers of a test's own, of both products where both are installed."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from arcweb.embedded.binaries import installed
from tests.cache_admin import nodes
from tests.waiting import until

PROGRAMS = {"Valkey": str(installed().valkey), "Redis": shutil.which("redis-server") or ""}
HERE = [product for product, program in PROGRAMS.items() if program]
#: Starts a server with these words of configuration; its client decodes nothing and speaks protocol 2.
Serve = Callable[..., Redis]


@pytest.fixture(params=HERE)
def product(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def serve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Serve]:
    with ExitStack() as servers:

        def make(
            product: str = "Valkey", *options: object, password: str | None = None, **more: Any
        ) -> Redis:
            monkeypatch.setattr(nodes, "REDIS_SERVER", PROGRAMS[product])
            folder = tmp_path / f"server-{len(list(tmp_path.iterdir()))}"
            words = ["--save", "", "--repl-diskless-sync-delay", "0", *options]
            if password:
                words += ["--requirepass", password]
            one = servers.enter_context(nodes.serving(folder, *words, password=password, **more))
            client = Redis(port=nodes.port_of(one), password=password, protocol=2, socket_timeout=60)
            servers.callback(end_writers, server_process(client))
            return client

        yield make


def again(client: Redis, **different: Any) -> Redis:
    """Another client of the same server."""
    known = client.get_connection_kwargs()
    same = {name: known[name] for name in ("host", "port", "path", "username", "password") if known.get(name)}
    if "path" in same:
        same["unix_socket_path"] = same.pop("path")
    return Redis(**{**same, "protocol": 2, "socket_timeout": 60, "retry": Retry(NoBackoff(), 0), **different})


def folder_of(client: Redis) -> Path:
    return Path(client.config_get("dir")["dir"])


def fill(client: Redis, keys: int = 50) -> None:
    """Some of every type that both products have, in three databases, with and without a time to live."""
    with client.pipeline(transaction=False) as pipe:
        for one in range(keys):
            pipe.set(f"string:{one}", "value " * 20)
        pipe.set("empty", "")
        pipe.set("number", 42)
        pipe.set("json", '{"a": [1, 2, {"b": null}]}')
        pipe.setrange("binary", 0, bytes(range(256)))
        pipe.pfadd("hyperloglog", "a", "b")
        pipe.setbit("bits", 4000, 1)
        pipe.rpush("list", *range(300))
        pipe.rpush("short list", "a")
        pipe.sadd("set", "a", "b")
        pipe.sadd("numbers", 1, 2, 3)
        pipe.zadd("zset", {f"member {one}": one for one in range(300)})
        pipe.geoadd("places", (13.361389, 38.115556, "Palermo"))
        pipe.hset("hash", mapping={f"field {one}": one for one in range(300)})
        pipe.hset("short hash", "a", 1)
        pipe.xadd("stream", {"event": "first"})
        pipe.xadd("stream", {"event": "second"})
        pipe.xgroup_create("stream", "group", "0")
        pipe.set("for an hour", "x", ex=3600)
        pipe.hset("hash for an hour", "a", 1)
        pipe.expire("hash for an hour", 3600)
        pipe.execute()
    for other in (3, 9):
        with again(client, db=other) as there:
            there.mset({"elsewhere": other, "and": "there"})
            there.set("for a day", "x", ex=24 * 3600)


def digest(client: Redis) -> bytes:
    """One value for all that a server holds, whatever the order."""
    return bytes(client.execute_command("DEBUG", "DIGEST"))


def saves_slowly(client: Redis) -> None:
    """For a minute with each key: a snapshot is under way for as long as a test wants; see `end_writers`."""
    client.config_set("rdb-key-save-delay", 60_000_000)


def server_process(client: Redis) -> psutil.Process:
    return psutil.Process(int(client.info("server")["process_id"]))


def end_writers(server: psutil.Process) -> None:
    """Its children that write a snapshot or an append-only file end, by the signal that it sends them itself:
    no failure to it."""
    with suppress(psutil.NoSuchProcess):
        for child in server.children():
            child.send_signal(signal.SIGUSR1)


def in_progress(client: Redis) -> bool:
    return bool(client.info("persistence")["rdb_bgsave_in_progress"])


def wait_for_start(client: Redis) -> None:
    until(lambda: in_progress(client), what="the start of a snapshot")
