"""The timeline at many events touches what it touches at few, whatever is asked.

A size that is made in seconds; `make bench` has 10,000,000.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from arcweb.events import names
from tests import many_events, many_rows

pytestmark = [pytest.mark.django_db, pytest.mark.timeout(900)]
FEW, MANY = 3_000, 60_000
#: Blocks beyond 1.1 times: an index is a level deeper, in each month that is looked into once for each
#: kind in the list of kinds, and where the events and their details are.
DEEPER = (many_events.MONTHS + 4) * 6 + 10
#: Lines of a page whose names are asked for.
LINES = 50
#: The same for the events that are asked who bears a name.
NAMED = names.MOST_NAMES * names.ASKED * 3


#: The blocks of the names of the newest page's lines, by number of events.
of_names: dict[int, int] = {}


@pytest.fixture(scope="module")
def measured(django_db_setup: None, django_db_blocker: pytest.Blocker) -> Iterator[dict[int, dict[str, int]]]:
    """By number of events and question: the blocks of the page's queries."""
    found: dict[int, dict[str, int]] = {}
    name = f"{connection.settings_dict['NAME']}_events"
    with django_db_blocker.unblock(), many_rows.own_database(name):
        client = Client()
        client.force_login(User.objects.create_superuser("admin"))
        for rows in (FEW, MANY):
            many_events.fill(rows)
            found[rows] = {name: measure(client, address) for name, address in many_events.addresses(rows)}
            of_names[rows] = measure(client, reverse("admin:events"), '"event_details"')
        yield found


def measure(client: Client, address: str, only: str = "") -> int:
    with CaptureQueriesContext(connection) as queries:
        response = client.get(address)
    assert response.status_code == 200, address
    statements = [
        query["sql"]
        for query in queries
        if ('"events"' in query["sql"] or "events." in query["sql"]) and only in query["sql"]
    ]
    assert statements
    assert not [sql for sql in statements if "OFFSET" in sql]
    return sum(many_rows.blocks_of(sql) for sql in statements)


def test_many_events_cost_what_few_do(measured: dict[int, dict[str, int]]) -> None:
    dear = []
    for name, few in measured[FEW].items():
        many = measured[MANY][name]
        print(f"{name}: {few} and {many} blocks")
        if many > 1.1 * few + DEEPER + (NAMED if "by name" in name else 0):
            dear.append(name)
    assert not dear


@pytest.mark.parametrize("rows", [FEW, MANY])
def test_names_of_neighbours_are_read_together(measured: dict[int, dict[str, int]], rows: int) -> None:
    """Not by a descent of the index for each line, which is three blocks or more."""
    assert of_names[rows] < LINES / 2
