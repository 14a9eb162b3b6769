"""A server that is a node of a cluster is recognised, and the pages that only read work on it."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from arcweb.embedded.processes import wait_until
from arcweb.embedded.stack import Stack
from cache_admin.server.capabilities import capabilities, forget
from tests.people import client_of


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@pytest.fixture
def node(throwaway_stack: Callable[..., Stack], tmp_path: Path, settings: Any) -> Iterator[Redis]:
    """A cluster of one node that has every slot."""
    port, bus = _free_port(), _free_port()
    [server] = throwaway_stack(start=False, roles=("cache",)).servers[1:]
    program = server.binaries.valkey
    options = ["--port", port, "--cluster-port", bus, "--bind", "127.0.0.1", "--dir", tmp_path, "--save", ""]
    process = subprocess.Popen(
        [str(word) for word in (program, *options, "--cluster-enabled", "yes")], stdout=subprocess.DEVNULL
    )
    settings.REDIS_URL = f"redis://127.0.0.1:{port}/0"
    forget()
    client = Redis(port=port)

    def answers() -> bool:
        try:
            return bool(client.ping())
        except RedisConnectionError:
            return False

    try:
        assert wait_until(answers, 20)
        client.execute_command("CLUSTER ADDSLOTSRANGE", 0, 16383)
        assert wait_until(lambda: client.cluster("info")["cluster_state"] == "ok", 20)
        yield client
    finally:
        client.close()
        process.kill()
        process.wait()
        forget()


@pytest.mark.django_db
def test_a_cluster_is_recognised_and_read(node: Redis) -> None:
    node.set("lock:one", "1")
    found = capabilities("cache")
    assert found.mode == "cluster"
    assert found.why_not("CLUSTER") == ""
    viewer = client_of("viewer")
    for page, words in (
        ("/redis/", "the figures are those of this node alone"),
        ("/redis/eviction/", "lock:one"),
        ("/redis/config/", "maxmemory-policy"),
    ):
        response = viewer.get(page)
        assert response.status_code == 200
        assert words in response.content.decode()
