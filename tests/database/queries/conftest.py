"""Statistics of statements that begin with each test: a whole suite leaves more than the server keeps."""

from __future__ import annotations

import psycopg
import pytest
from django.conf import settings
from django.db import connection


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
def fresh_statistics(request: pytest.FixtureRequest) -> None:
    if request.node.get_closest_marker("django_db"):
        request.getfixturevalue("db")
        as_superuser("SELECT pg_stat_statements_reset()")
