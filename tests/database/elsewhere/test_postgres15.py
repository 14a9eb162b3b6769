"""The PostgreSQL rooms on an older server, over SSL with scram passwords, without vectors."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from arcweb.database.standing import standing
from arcweb.events.models import Event, EventDetail
from arcweb.events.querysets import details_of
from arcweb.registry import registered_pages
from tests import many_rows
from tests.database.elsewhere.debian import Debian

PAGES = [page.path for page in registered_pages() if page.path.startswith("postgres/") and page.listed]


def test_it_is_that_server_over_ssl(here: Debian) -> None:
    found = standing()
    assert (found.major, found.role, found.superuser, found.sees_all) == (15, "arc", False, True)
    assert found.vectors is None
    assert found.statements is not None
    with connection.cursor() as cursor:
        cursor.execute("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
        assert cursor.fetchone() == (True,)
    with here.superuser() as superuser:
        row = superuser.execute(
            "SELECT rolpassword LIKE 'SCRAM-SHA-256%' FROM pg_authid WHERE rolname = 'arc'"
        )
        assert row.fetchone() == (True,)


def test_the_names_of_a_page_of_events_take_a_descent_each_and_no_more(here: Debian) -> None:
    """Before 17 a product of two lists is as many descents as it has pairs: that plan must not be chosen."""
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO events.event_details (occurred_at, event_id, actor_name) "
            "SELECT now() - i * interval '1 minute', i, 'ada' FROM generate_series(1, 20000) AS i"
        )
        cursor.execute("ANALYZE events.event_details")
        cursor.execute("SELECT occurred_at, event_id FROM events.event_details WHERE event_id % 400 = 7")
        events = [Event(occurred_at=moment, id=number) for moment, number in cursor.fetchall()]
    try:
        with CaptureQueriesContext(connection) as asked:
            assert len(details_of(events)) == len(events) == 50
        (query,) = asked.captured_queries
        assert many_rows.blocks_of(query["sql"]) <= 4 * len(events)
    finally:
        EventDetail.objects.all().delete()


@pytest.mark.parametrize("path", PAGES)
def test_every_page_shows_what_this_server_has(here: Debian, path: str) -> None:
    user, _ = User.objects.get_or_create(username="root", is_superuser=True, is_staff=True)
    client = Client()
    client.force_login(user)
    answer = client.get(f"/{path}")
    page = answer.content.decode()
    assert answer.status_code == 200, page[-2000:]
    for word in ("not offered by this server", "cannot be shown", "does not exist"):
        assert word not in page, page[page.index(word) - 300 : page.index(word) + 200]
