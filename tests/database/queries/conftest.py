"""Statistics of statements that begin with each test: a whole suite leaves more than the server keeps."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator

import psycopg
import pytest
from django.conf import settings
from django.db import connection

from arcweb.database.queries import explain


def as_superuser(statement: str) -> None:
    """In the test's database, by the throw-away server's superuser."""
    where = connection.settings_dict
    with psycopg.connect(
        host=where["HOST"],
        port=where["PORT"],
        user="postgres",
        password=settings.ARC_LAYOUT.read_secret("postgres-superuser-password"),
        dbname=where["NAME"],
        autocommit=True,
    ) as superuser:
        superuser.execute(statement)


@pytest.fixture(autouse=True)
def fresh_statistics(request: pytest.FixtureRequest) -> Iterator[None]:
    """One test after the other, whatever process they run in: the statistics are the server's."""
    if not request.node.get_closest_marker("django_db"):
        yield
        return
    request.getfixturevalue("db")
    with (settings.ARC_DATA_DIR / "statement-tests.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        as_superuser("SELECT pg_stat_statements_reset()")
        yield


@pytest.fixture(autouse=True)
def statements_have_time(unhurried: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine is not the point here."""
    monkeypatch.setattr(explain, "PLAN_SECONDS", 60.0)
    monkeypatch.setattr(explain, "RUN_SECONDS", 60.0)
