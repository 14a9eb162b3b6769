"""What the command palette finds, for whom, and at what cost."""

from __future__ import annotations

import time
from typing import Any

import psycopg
import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from agents.models import Agent
from tests.people import client_of


def find(client: Client, text: str) -> str:
    answer = client.get("/find/", {"q": text}, headers={"HX-Request": "true"})
    assert answer.status_code == 200
    return answer.content.decode()


@pytest.mark.django_db
def test_pages_and_things_for_those_who_may_see_them() -> None:
    scout = Agent.objects.create(name="Scout <1>", type="research")
    viewer, nobody = client_of("viewer"), client_of("")
    found = find(viewer, "sco")
    assert f'href="/agents/agent/{scout.pk}/change/"' in found
    assert "Scout &lt;1&gt;" in found
    assert find(viewer, str(scout.pk)).count('role="option"') == 1
    assert "Scout" not in find(nobody, "sco")
    assert 'href="/events/"' in find(viewer, "event")
    assert 'href="/sessions/"' not in find(viewer, "session")
    assert 'href="/sessions/"' in find(client_of("administrator"), "session")
    page = viewer.get("/find/", {"q": "sco"}).content.decode()
    assert f'href="/agents/agent/{scout.pk}/change/"' in page
    assert "Nothing is named “zzz”" in find(viewer, "zzz")


@pytest.mark.django_db
@pytest.mark.parametrize("text", ["%", "_", "\\", '"', "-", "'", "(", "\u200b", "a" * 5000, "0" * 32])
def test_whatever_is_typed(text: str) -> None:
    find(client_of("administrator"), text)


@pytest.mark.django_db
def test_the_number_of_queries_does_not_grow_with_what_there_is() -> None:
    client, asked = client_of("viewer"), []
    for number in (10, 1000):
        Agent.objects.bulk_create(Agent(name=f"Scout {number}-{row}", type="t") for row in range(number))
        with CaptureQueriesContext(connection) as queries:
            assert find(client, "sco").count('href="/agents/agent/') == 6
        asked.append(len(queries))
    assert asked[0] == asked[1]


@pytest.mark.django_db(transaction=True)
def test_a_locked_table_costs_only_its_own_findings() -> None:
    client = client_of("viewer")
    Agent.objects.create(name="Eve", type="t")
    there: Any = connection.settings_dict
    names = {"host": there["HOST"], "dbname": there["NAME"], "user": there["USER"]}
    with psycopg.connect(**names, password=there["PASSWORD"], port=there["PORT"] or None) as other:
        other.execute("LOCK TABLE agents.documents, agents.memories IN ACCESS EXCLUSIVE MODE")
        started = time.monotonic()
        found = find(client, "eve")
        assert time.monotonic() - started < 2
        other.rollback()
    assert ">Eve<" in found
    assert 'href="/events/"' in found
    assert "too slow or failed: Memories, Documents." in found
    assert "too slow" not in find(client, "eve")
