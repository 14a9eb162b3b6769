"""Behind PgBouncer in transaction mode: many sessions share two connections, and leave nothing in them."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client

from arcweb import servers
from arcweb.postgres import TooSlow, base, limited, limits
from arcweb.registry import registered_pages
from tests.database.elsewhere.conftest import a_new_connection, led_to
from tests.database.elsewhere.debian import Debian

PAGES = [page.path for page in registered_pages() if page.path.startswith("postgres/") and page.listed]
#: What pages set for a transaction, and what the pool's connect_query says.
LEFT = """
    SELECT current_setting('statement_timeout'), current_setting('lock_timeout'),
           current_setting('transaction_read_only'), pg_backend_pid()
"""


@pytest.fixture
def web(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """This process counts as one that answers people, and waits longer for the server than it would."""
    settings.POSTGRES_POOLER = "transaction"
    settings.ARC_WEB_STATEMENT_SECONDS = 60
    monkeypatch.setattr(base, "CONNECT_SECONDS", 60)
    monkeypatch.setattr(base, "USABLE_SECONDS", 60)
    monkeypatch.setattr(limits, "MARGIN", 60)
    servers.board.watch(lambda name: None)
    yield
    servers.board.watch(None)


def left_behind(debian: Debian, pool: int) -> set[tuple[Any, ...]]:
    """The settings in both connections of the pool, which two open transactions hold at once."""
    with (
        psycopg.connect(debian.conninfo(port=pool)) as one,
        psycopg.connect(debian.conninfo(port=pool)) as two,
    ):
        rows = [other.execute(LEFT).fetchone() or () for other in (one, two)]
    assert rows[0][3] != rows[1][3], "one connection was asked twice"
    return {row[:3] for row in rows}


def test_every_page_by_many_at_once_leaves_the_connections_clean(
    debian: Debian, pool: int, web: None, django_db_blocker: Any
) -> None:
    def look(user: User) -> list[tuple[str, int]]:
        with a_new_connection():
            client = Client()
            client.force_login(user)
            return [(path, client.get(f"/{path}").status_code) for path in PAGES]

    with django_db_blocker.unblock(), led_to(debian, pool), ThreadPoolExecutor(4) as threads:
        user, _ = User.objects.get_or_create(username="root", is_superuser=True, is_staff=True)
        answers = [answer for several in threads.map(look, [user] * 4) for answer in several]
    assert {status for _, status in answers} == {200}, answers
    assert left_behind(debian, pool) == {("9s", "0", "off")}


def test_a_part_that_took_too_long_leaves_nothing(
    debian: Debian, pool: int, web: None, django_db_blocker: Any
) -> None:
    with django_db_blocker.unblock(), led_to(debian, pool), connection.cursor() as cursor:
        for _ in range(3):
            with pytest.raises(TooSlow), limited(0.2):
                cursor.execute("SELECT pg_sleep(5)")
        cursor.execute("SELECT 1")
        assert cursor.fetchone() == (1,)
    assert left_behind(debian, pool) == {("9s", "0", "off")}
