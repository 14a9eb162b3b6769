"""A server that reads its data from disk: every page says so, and none waits for the end of it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from arcweb.registry import registered_pages
from cache_admin import connections
from cache_admin.server.capabilities import forget
from tests.cache_admin.nodes import loads, port_of, serving
from tests.people import client_of

pytestmark = pytest.mark.django_db
#: Each takes 5 ms to be read, and the server looks for commands after each: it loads for most of a minute.
KEYS = 10_000
SLOWLY = ("--key-load-delay", 5_000, "--loading-process-events-interval-bytes", 1024)


@pytest.fixture
def loading(tmp_path: Path, settings: Any) -> Iterator[Redis]:
    """The server of both roles of the site; it gives no answer for far longer than the test takes."""
    with serving(tmp_path, "--save", "") as full:
        with full.pipeline(transaction=False) as pipe:
            for number in range(KEYS):
                pipe.set(f"user:{number}", os.urandom(600).hex())
            pipe.execute()
        full.save()
    with serving(tmp_path, "--save", "", *SLOWLY, ready=loads) as server:
        settings.REDIS_URL = settings.REDIS_STATE_URL = f"redis://127.0.0.1:{port_of(server)}/0"
        forget()
        yield server
    forget()


def test_every_page_says_that_the_server_is_loading(loading: Redis) -> None:
    browser = client_of("administrator")
    for page in registered_pages():
        if page.group == "Redis" and page.listed:
            for role in connections.ROLES:
                response = browser.get(f"/{page.path}?role={role}")
                assert response.status_code == 503, page.path
                said = response.content.decode()
                assert "is loading its data from disk and will answer when that is done" in said, page.path
                assert f"Redis ({role} role" in said, page.path
    assert browser.get("/account/").status_code == 200
    assert loads(loading), "the pages waited for it"
