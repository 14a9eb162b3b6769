"""A PostgreSQL that takes no changes: people go on reading, and are told where they cannot write."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest
from django.db import connection
from django.db.models import F
from django.test import Client

from arcweb.accounts.models import UserSession
from tests.people import PASSWORD, client_of, make_user

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def reader() -> Iterator[Client]:
    client = client_of(make_user("operator", "ada", password=PASSWORD))
    UserSession.objects.update(last_seen_at=F("last_seen_at") - timedelta(minutes=5))
    with connection.cursor() as cursor:
        cursor.execute("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY")
    yield client
    with connection.cursor() as cursor:
        cursor.execute("SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE")


def test_pages_are_read_though_nobody_can_note_who_was_seen(reader: Client) -> None:
    pages = ("/", "/agents/agent/", "/memories/memory/", "/jobs/job/", "/events/", "/account/", "/find/?q=a")
    assert {page: reader.get(page).status_code for page in pages} == dict.fromkeys(pages, 200)
    assert reader.get("/sessions/").status_code == 403


def test_what_cannot_be_written_is_told_in_words(reader: Client) -> None:
    for client, address, sent in (
        (reader, "/account/", {"first_name": "Ada"}),
        (reader, "/agents/agent/add/", {"name": "Scout", "type": "t", "config": "{}"}),
        (Client(), "/login/", {"username": "ada", "password": PASSWORD}),
    ):
        answer = client.post(address, sent)
        page = answer.content.decode()
        assert answer.status_code == 503, address
        assert "PostgreSQL takes no changes" in page
        assert "comes back by itself" not in page
