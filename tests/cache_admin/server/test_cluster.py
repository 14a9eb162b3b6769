"""A node of a Cluster is recognised; pages that only read work on it, and what another node has is said."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from arcweb.embedded.processes import wait_until
from arcweb.registry import registered_pages
from cache_admin.keys.names import code_of
from cache_admin.server.capabilities import capabilities, forget
from tests.cache_admin.nodes import PATIENCE, free_port, port_of, serving
from tests.people import client_of

pytestmark = pytest.mark.django_db
NODES = 3
SLOTS = 16384


@pytest.fixture
def nodes(tmp_path: Path, settings: Any) -> Iterator[list[Redis]]:
    """A Cluster of three nodes with a third of the slots each; both roles are at the first."""
    share = -(-SLOTS // NODES)
    with ExitStack() as stack:
        buses = [free_port() for _ in range(NODES)]
        found = [
            stack.enter_context(
                serving(
                    tmp_path / str(n), "--cluster-enabled", "yes", "--cluster-port", buses[n], "--save", ""
                )
            )
            for n in range(NODES)
        ]
        for n, node in enumerate(found):
            node.execute_command("CLUSTER ADDSLOTSRANGE", n * share, min((n + 1) * share, SLOTS) - 1)
            found[0].execute_command("CLUSTER MEET", "127.0.0.1", port_of(node), buses[n])
        assert wait_until(
            lambda: all(node.cluster("info")["cluster_state"] == "ok" for node in found), PATIENCE
        )
        settings.REDIS_URL = settings.REDIS_STATE_URL = f"redis://127.0.0.1:{port_of(found[0])}/0"
        forget()
        yield found
        forget()


def owns(node: Redis, nodes: list[Redis], name: str) -> bool:
    share = -(-SLOTS // NODES)
    return int(node.execute_command("CLUSTER KEYSLOT", name)) // share == nodes.index(node)


def key_on(node: Redis, nodes: list[Redis]) -> str:
    """The name of a key that lies on that node, and is written there."""
    name = next(name for n in range(1000) if owns(node, nodes, name := f"user:{n}:profile"))
    node.set(name, "1", ex=600)
    return name


def test_pages_that_read_work_on_a_node_and_say_what_they_show(nodes: list[Redis]) -> None:
    here, there = (key_on(node, nodes) for node in nodes[:2])
    assert (capabilities("cache").mode, capabilities("cache").why_not("CLUSTER")) == ("cluster", "")
    browser = client_of("administrator")
    for page in registered_pages():
        if page.group == "Redis" and page.listed:
            response = browser.get(f"/{page.path}?role=cache")
            assert response.status_code == 200, page.path
            assert "One node of a Cluster" in response.content.decode(), page.path
    assert here in browser.get("/redis/keys/").content.decode()
    assert there not in browser.get("/redis/keys/").content.decode()
    assert browser.get(f"/redis/keys/{code_of(here.encode())}/").status_code == 200


def test_what_another_node_has_is_said(nodes: list[Redis]) -> None:
    browser = client_of("administrator")
    there = f"/redis/keys/{code_of(key_on(nodes[1], nodes).encode())}/"
    # The queues are in keys of one slot each, which need not be this node's.
    pages = [there] + (["/redis/queues/"] if not owns(nodes[0], nodes, "arcweb:celery:unacked") else [])
    for address in pages:
        response = browser.get(address)
        text = response.content.decode()
        assert response.status_code == 503
        assert "is one node of a Cluster, and what this page needs is on another, 127.0.0.1:" in text
        assert ">Away" not in text
