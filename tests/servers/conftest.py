"""A PostgreSQL of a test's own behind the project's engine, and a web process's knowledge of it."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import replace
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.db.utils import ConnectionHandler

from arcweb import servers
from arcweb.embedded.stack import Stack
from arcweb.postgres import base
from arcweb.postgres.base import DatabaseWrapper
from tests.servers.site import Site, whole_system
from tests.stack import THROWAWAY, new_layout

#: Much more than a busy machine takes for a page, so that who waits for the end of a statement is seen.
STATEMENT_SECONDS = 20


@pytest.fixture(scope="package")
def site() -> Iterator[Site]:
    """The whole system, with its administrator logged in. A page's statements may take so many seconds."""
    with whole_system(ARC_WEB_STATEMENT_SECONDS=str(STATEMENT_SECONDS), ARC_WEB_THREADS="8") as site:
        yield site


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    layout, lock = new_layout()
    stack = Stack(layout, replace(THROWAWAY, roles=()))
    stack.start()
    yield stack
    stack.destroy()
    lock.close()


@pytest.fixture
def engine(
    stack: Stack, django_db_blocker: Any, monkeypatch: pytest.MonkeyPatch
) -> Iterator[DatabaseWrapper]:
    """Django's connection to that server, made by the engine of the settings, however long that takes."""
    monkeypatch.setattr(base, "CONNECT_SECONDS", 30)
    own = deepcopy(django_settings.DATABASES["default"])
    own |= {
        "NAME": "arc",
        "HOST": str(stack.layout.socket_dir),
        "PASSWORD": stack.layout.read_secret("postgres-password"),
    }
    wrapper = ConnectionHandler({"default": own})["default"]
    assert isinstance(wrapper, DatabaseWrapper)
    with django_db_blocker.unblock():
        yield wrapper
        wrapper.close()


@pytest.fixture
def web(settings: object) -> Iterator[list[str]]:
    """This process counts as one that answers people; what it suspects is listed."""
    suspected: list[str] = []
    servers.board.watch(suspected.append)
    yield suspected
    servers.board.watch(None)
