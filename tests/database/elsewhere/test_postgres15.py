"""The PostgreSQL rooms on an older server, over SSL with scram passwords, without vectors."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client

from arcweb.database.standing import standing
from arcweb.registry import registered_pages
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
