"""The project's default connection, led to Debian's PostgreSQL with the tables that need no vectors."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connections
from django.db.migrations.loader import MigrationLoader

from arcweb.database import standing
from tests.database.elsewhere.debian import PGBOUNCER, Debian, programs
from tests.running import free_port

#: Their tables have a column of type `vector`, which this server does not know.
WITH_VECTORS = ("agents", "memories")


@contextmanager
def led_to(debian: Debian, port: int = 0, user: str = "arc") -> Iterator[None]:
    """Inside, Django's default connection of this thread is one to that server (or to the pooler's port)."""
    own = connections.settings["default"]
    kept = dict(own)
    own |= {
        "NAME": "arc",
        "USER": user,
        "PASSWORD": debian.password,
        "HOST": "127.0.0.1",
        "PORT": str(port or debian.port),
        "OPTIONS": {**kept["OPTIONS"], "sslmode": "require" if not port else "disable"},
    }
    standing.forget()
    try:
        with a_new_connection():
            yield
    finally:
        own.clear()
        own |= kept
        standing.forget()


@contextmanager
def a_new_connection() -> Iterator[None]:
    """Inside, this thread's default connection is one that follows the settings as they are now."""
    before = connections["default"]
    connections["default"] = connections.create_connection("default")
    try:
        yield
    finally:
        connections["default"].close()
        connections["default"] = before


@pytest.fixture(scope="module")
def debian(tmp_path_factory: pytest.TempPathFactory, django_db_blocker: Any) -> Iterator[Debian]:
    """PostgreSQL 15 with every table of the project but those of agents and memories."""
    found = programs(15)
    if found is None:
        pytest.skip("Debian's PostgreSQL 15 is not installed here (.ci/run installs it as root)")
    folder = Path(tempfile.mkdtemp(prefix="arcweb-debian-"))
    server = Debian(folder, free_port())
    try:
        server.start(found)
        with django_db_blocker.unblock(), led_to(server):
            for label in ("auth", *(app for app in with_migrations() if app not in WITH_VECTORS)):
                call_command("migrate", label, interactive=False, verbosity=0)
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


def with_migrations() -> list[str]:
    return sorted(MigrationLoader(None).migrated_apps)


@pytest.fixture
def here(debian: Debian, django_db_blocker: Any) -> Iterator[Debian]:
    with django_db_blocker.unblock(), led_to(debian):
        yield debian


@pytest.fixture(scope="module")
def pool(debian: Debian) -> int:
    """The port of a PgBouncer in transaction mode before that server."""
    if PGBOUNCER is None:
        pytest.skip("PgBouncer is not installed here (.ci/run installs it as root)")
    port = free_port()
    debian.pool(port)
    return port
