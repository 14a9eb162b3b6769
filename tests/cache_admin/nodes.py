"""Servers of Redis beside the stack's: nodes of a Cluster, replicas, Sentinels. In the run's own product."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from redis import Redis
from redis.exceptions import BusyLoadingError, RedisError

from arcweb.embedded.binaries import installed
from arcweb.embedded.processes import wait_until
from tests.running import free_port
from tests.stack import REDIS_SERVER

__all__ = ["PATIENCE", "answers", "free_port", "loads", "port_of", "serving"]
#: Seconds; a Sentinel asks its servers every ten.
PATIENCE = 180.0


def answers(client: Redis) -> bool:
    try:
        return bool(client.ping())
    except RedisError:
        return False


def loads(client: Redis) -> bool:
    """Whether it is there, and refuses because it reads its data from disk."""
    try:
        client.ping()
    except BusyLoadingError:
        return True
    except RedisError:
        return False
    return False


@contextmanager
def serving(
    folder: Path,
    *options: object,
    port: int = 0,
    password: str | None = None,
    ready: Callable[[Redis], bool] = answers,
) -> Iterator[Redis]:
    """A server on a port of its own, working in `folder`, with these words after the program; killed at last.

    It is waited for until `ready`. The client decodes what it reads.
    """
    folder.mkdir(exist_ok=True)
    port = port or free_port()
    words = [REDIS_SERVER or installed().valkey, *options]
    words += ["--port", port, "--bind", "127.0.0.1", "--dir", folder]
    process = subprocess.Popen([str(word) for word in words], stdout=subprocess.DEVNULL)
    client = Redis(port=port, password=password, decode_responses=True)
    try:
        assert wait_until(lambda: ready(client), PATIENCE)
        yield client
    finally:
        client.close()
        process.kill()
        process.wait()


def port_of(client: Redis) -> int:
    return int(client.get_connection_kwargs()["port"])
