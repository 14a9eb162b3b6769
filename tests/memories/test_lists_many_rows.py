"""The list of memories at a million rows touches what it touches at a thousand, whatever is asked."""

from __future__ import annotations

import time
from collections.abc import Iterator
from urllib.parse import urlencode

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from arcweb import keyset
from tests import many_rows

pytestmark = [pytest.mark.django_db, pytest.mark.timeout(900)]
FEW, MANY = 1_000, 1_000_000
#: Blocks beyond 1.1 times: an index of a million rows is one or two levels deeper, at each of its probes.
DEEPER = 50
#: A search by words finds keys first; each of the 50 rows is then looked up by its key.
LOOKED_UP = 50 * 4

QUESTIONS = {
    "the newest": {},
    "the oldest first": {"o": "5"},
    "an agent": {"agent": many_rows.FIRST_AGENT},
    "an agent by name": {"agent": "agent 0"},
    "an agent of three memories": {"agent": many_rows.LAST_AGENT},
    "failed, three of all": {"embedding_state__exact": "failed"},
    "embedded": {"embedding_state__exact": "embedded"},
    "pending of an agent": {"agent": many_rows.FIRST_AGENT, "embedding_state__exact": "pending"},
    "failed of an agent that has none": {"agent": many_rows.FIRST_AGENT, "embedding_state__exact": "failed"},
    "a rare word": {"q": "zebra"},
    "a word that no memory holds": {"q": "xylophone"},
    "a common word": {"q": "lease"},
    "a common word of an agent": {"q": "lease", "agent": many_rows.FIRST_AGENT},
    "a word of one memory in a hundred": {"q": "heartbeat"},
    "a common word among the failed": {"q": "handbook", "embedding_state__exact": "failed"},
}


@pytest.fixture(scope="module")
def measured(
    django_db_setup: None, django_db_blocker: pytest.Blocker
) -> Iterator[dict[int, dict[str, tuple[int, float]]]]:
    """By number of rows and page: the blocks of its queries, and the best time of three."""
    found: dict[int, dict[str, tuple[int, float]]] = {}
    with django_db_blocker.unblock(), many_rows.own_database(f"{connection.settings_dict['NAME']}_many"):
        client = Client()
        client.force_login(User.objects.create_superuser("admin"))
        for rows in (FEW, MANY):
            print(f"\n{rows} rows were made in {many_rows.fill(rows):.1f} s")
            found[rows] = {name: measure(client, address) for name, address in addresses(client, rows)}
        yield found


def addresses(client: Client, rows: int) -> Iterator[tuple[str, str]]:
    url = reverse("admin:memories_memory_changelist")
    for name, question in QUESTIONS.items():
        yield name, f"{url}?{urlencode(question)}"
    second = client.get(url).context["cl"].pager.next
    yield "the second page", url + second
    yield "and back", url + client.get(url + second).context["cl"].pager.previous
    for name, middle in (("deep", rows // 2), ("the end", 100)):
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT created_at, id FROM agents.memories WHERE created_at IS NOT NULL "
                "ORDER BY created_at OFFSET %s LIMIT 1",
                [middle],
            )
            place = str(keyset.Key(*cursor.fetchone()))
        yield name, f"{url}?{urlencode({'after': place})}"
        yield f"{name}, backwards", f"{url}?{urlencode({'before': place})}"
    yield "deep in a common word", f"{url}?{urlencode({'after': place, 'q': 'lease'})}"


def measure(client: Client, address: str) -> tuple[int, float]:
    client.get(address)
    with CaptureQueriesContext(connection) as queries:
        response = client.get(address)
    assert response.status_code == 200, address
    statements = [query["sql"] for query in queries if "agents" in query["sql"]]
    assert not [sql for sql in statements if "OFFSET" in sql]
    blocks = sum(many_rows.blocks_of(sql) for sql in statements if not sql.startswith("EXPLAIN"))
    times = []
    for _ in range(3):
        started = time.perf_counter()
        client.get(address)
        times.append((time.perf_counter() - started) * 1000)
    return blocks, min(times)


def test_a_million_rows_cost_what_a_thousand_do(
    measured: dict[int, dict[str, tuple[int, float]]],
) -> None:
    dear = []
    for name, (few, before) in measured[FEW].items():
        many, after = measured[MANY][name]
        print(f"{name}: {few} and {many} blocks, {before:.1f} and {after:.1f} ms ({after / before:.2f})")
        if name != "a word of one memory in a hundred" and many > 1.1 * few + DEEPER + (
            LOOKED_UP if "word" in name else 0
        ):
            dear.append(name)
    assert not dear


def test_a_word_of_one_memory_in_a_hundred_reads_no_more_than_its_bound(
    measured: dict[int, dict[str, tuple[int, float]]],
) -> None:
    blocks, _ = measured[MANY]["a word of one memory in a hundred"]
    assert blocks < 3 * keyset.MOST_READ
