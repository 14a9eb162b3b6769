"""The page at /: a frame whose parts load themselves."""

from __future__ import annotations

import re
from typing import Any

import psycopg
import pytest
from django.contrib.auth.models import Permission
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from arcweb import panels
from arcweb.libpq import conninfo
from tests.people import client_of, make_user

pytestmark = pytest.mark.django_db


def cards(client: Client) -> list[str]:
    return re.findall(r'<section class="card[^>]* id="panel-([a-z-]+)"', client.get("/").content.decode())


def test_every_card_has_its_place_and_loads_itself() -> None:
    client = client_of("viewer")
    text = client.get("/").content.decode()
    assert cards(client) == [panel.name for panel in panels.panels("overview")]
    for panel in panels.panels("overview"):
        assert f'hx-get="/panels/{panel.name}/" hx-trigger="load, refresh, every {panel.refresh}s"' in text
        # Without JavaScript the title leads to the panel's own page.
        assert f'<a href="/panels/{panel.name}/">{panel.title}</a>' in text
    assert 'hx-get="/panels/verdict/"' in text
    assert 'noscript><a href="/panels/verdict/">How things are</a>' in text
    assert " style=" not in text
    assert "<h1>Overview</h1>" in text


def test_a_person_sees_the_cards_that_are_permitted() -> None:
    assert cards(client_of()) == []
    user = make_user()
    user.user_permissions.add(Permission.objects.get(codename="view_memory"))
    assert cards(client_of(user)) == ["memories"]
    assert set(cards(client_of("superuser"))) == {panel.name for panel in panels.panels("overview")}


def test_the_one_primary_button_is_for_those_who_may_ingest() -> None:
    ingest = '<a class="btn primary" href="/memories/ingest/">Ingest documents</a>'
    assert ingest not in client_of("viewer").get("/").content.decode()
    text = client_of("operator").get("/").content.decode()
    assert ingest in text
    assert text.count("btn primary") == 1


def test_the_page_itself_asks_for_nothing_but_the_person() -> None:
    client = client_of("viewer")
    client.get("/")
    with CaptureQueriesContext(connection) as asked:
        client.get("/")
    assert not [
        query["sql"] for query in asked if re.search(r"agents|memor|jobs_|events|sample", query["sql"])
    ]
    assert len(asked) <= 4


def test_locked_tables_do_not_delay_the_page() -> None:
    client = client_of("viewer")
    with psycopg.connect(conninfo(connection.settings_dict)) as other:
        other.execute("SET LOCAL lock_timeout = '60s'")
        other.execute(
            "LOCK TABLE agents.memories, agents.agents, jobs_job, samples_sample IN ACCESS EXCLUSIVE MODE"
        )
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL lock_timeout = '50ms'")
        assert client.get("/").status_code == 200


def test_it_has_no_card_that_nobody_registered(monkeypatch: pytest.MonkeyPatch) -> None:
    registered: dict[str, Any] = {}
    monkeypatch.setattr(panels, "_panels", registered)
    assert cards(client_of("superuser")) == []
