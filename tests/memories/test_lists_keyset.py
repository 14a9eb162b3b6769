"""Keyset pages: every row once, in order, in both directions, with NULLs, ties and rows that go meanwhile."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.postgres.search import SearchQuery
from django.db import connection
from django.db.models import Q
from django.test.utils import CaptureQueriesContext

from agents.models import Agent
from arcweb import keyset
from arcweb.keyset import Key, Order
from memories.models import Memory

pytestmark = pytest.mark.django_db
START = datetime(2026, 1, 1, tzinfo=UTC)


def fill(rows: int = 23) -> None:
    """Rows of which some share their time and some have none."""
    for number in range(rows):
        memory = Memory.objects.create(content=f"memory {number}")
        time = None if number % 5 == 0 else START + timedelta(minutes=number // 3)
        Memory.objects.filter(pk=memory.pk).update(created_at=time)


def expected(order: Order) -> list[Any]:
    """What PostgreSQL itself gives, NULLs last."""
    sign = "DESC" if order.descending else "ASC"
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT id FROM agents.memories ORDER BY {order.field} {sign} NULLS LAST, id {sign}")
        return [pk for (pk,) in cursor.fetchall()]


def pages(turn: Any, order: Order) -> list[list[Any]]:
    """All pages, from the first to the last by `next`; and back by `previous` they are the same."""
    seen, page = [], turn()
    while True:
        seen.append([key.pk for key in page.keys])
        if page.next is None:
            break
        page = turn(after=order.parse(str(page.next)))
    back = [seen[-1]]
    while page.previous is not None:
        page = turn(before=order.parse(str(page.previous)))
        back.append([key.pk for key in page.keys])
    assert back[::-1] == seen
    return seen


@pytest.mark.parametrize("descending", [True, False])
@pytest.mark.parametrize("rows", [0, 1, 4, 5, 8, 23])
def test_pages_hold_every_row_once_and_lead_back(rows: int, descending: bool) -> None:
    fill(rows)
    order = Order(Memory, "created_at", descending)
    everything = Memory.objects.all()
    known = [Key(*row) for row in everything.values_list("created_at", "pk")]
    ways = (
        lambda **place: order.page(everything, 4, **place),
        lambda **place: order.page_of_known(known, 4, **place),
        lambda **place: order.walk(everything, Q(content__startswith="memory"), 4, **place),
    )
    for way in ways:
        seen = pages(way, order)
        assert [pk for page in seen for pk in page] == expected(order)
        assert all(len(page) == 4 for page in seen[:-1])


@pytest.mark.parametrize("rows", [5, 23])
def test_a_page_costs_the_same_number_of_queries(rows: int) -> None:
    fill(rows)
    start = Key(START, Memory().pk)
    order = Order(Memory, "created_at")
    for place, expected_queries in (({}, 2), ({"after": start}, 2), ({"before": start}, 1)):
        with CaptureQueriesContext(connection) as queries:
            order.page(Memory.objects.all(), 4, **place)  # type: ignore[arg-type]
        assert len(queries) == expected_queries
        assert not [query for query in queries if "OFFSET" in query["sql"]]


def test_the_row_at_the_edge_may_be_deleted_meanwhile() -> None:
    fill()
    order = Order(Memory, "created_at")
    first = order.page(Memory.objects.all(), 4)
    rest = expected(order)[4:]
    Memory.objects.filter(pk=first.keys[-1].pk).delete()
    assert first.next is not None
    assert [key.pk for key in order.page(Memory.objects.all(), 100, after=first.next).keys] == rest


def test_past_the_end_a_page_is_empty_and_leads_back_and_before_the_first_is_the_first() -> None:
    fill(6)
    order = Order(Memory, "created_at")
    last = order.page(Memory.objects.all(), 50).keys[-1]
    beyond = order.page(Memory.objects.all(), 4, after=last)
    assert (beyond.keys, beyond.previous, beyond.next) == ([], last, None)
    everything = Memory.objects.all()
    first = order.page(everything, 4).keys[0]
    known = [Key(*row) for row in everything.values_list("created_at", "pk")]
    for before in (
        order.page(everything, 4, before=first),
        order.page_of_known(known, 4, before=first),
        order.walk(everything, Q(content__startswith="memory"), 4, before=first),
    ):
        assert [key.pk for key in before.keys] == expected(order)[:4]
        assert (before.previous, before.next) == (None, before.keys[-1])


@pytest.mark.parametrize(
    "text",
    ["", "~", "x", "nonsense~nonsense", "2026-01-01~00000000-0000-4000-8000-000000000001", "~x",
     "2026-13-01T00:00:00+00:00~00000000-0000-4000-8000-000000000001", "2026-01-01T00:00:00~1", "a" * 5000],
)  # fmt: skip
def test_what_is_no_place_is_none(text: str) -> None:
    assert Order(Memory, "created_at").parse(text) is None


def test_a_name_with_the_separator_is_a_place() -> None:
    agent = Agent.objects.create(name="a~b~", type="t")
    order = Order(Agent, "name", descending=False)
    assert order.parse(str(Key("a~b~", agent.pk))) == Key("a~b~", agent.pk)


def test_a_walk_stops_at_its_bound_and_goes_on_from_there() -> None:
    fill(40)
    order = Order(Memory, "created_at")
    rare = Q(content__in=["memory 1", "memory 39"])
    found, place, turns = [], None, 0
    while True:
        page = order.walk(Memory.objects.all(), rare, 4, after=place, read=7)
        found += [key.pk for key in page.keys]
        turns += 1
        if page.next is None:
            break
        assert page.read == 7
        place = page.next
    contents = dict(Memory.objects.values_list("pk", "content"))
    assert [contents[pk] for pk in found] == ["memory 39", "memory 1"]
    assert turns > 4


def test_a_walk_back_that_found_nothing_leads_on_to_the_row_it_came_from() -> None:
    fill(40)
    order = Order(Memory, "created_at")
    keys = order.page(Memory.objects.all(), 40).keys
    rare = Q(pk__in=[keys[1].pk, keys[30].pk])
    back = order.walk(Memory.objects.all(), rare, 4, before=keys[30], read=7)
    assert (back.keys, back.previous, back.read) == ([], keys[23], 7)
    on = order.walk(Memory.objects.all(), rare, 4, after=back.next, read=7)
    assert [key.pk for key in on.keys] == [keys[30].pk]


def test_counts_say_what_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    fill(9)
    assert str(keyset.count(Memory.objects.all())) == "9"
    monkeypatch.setattr(keyset, "MOST_COUNTED", 5)
    monkeypatch.setattr(keyset, "estimate", lambda rows: 1_042_318)
    assert str(keyset.count(Memory.objects.all())) == "about 1,040,000"
    monkeypatch.setattr(keyset, "estimate", lambda rows: 3)
    assert str(keyset.count(Memory.objects.all())) == "more than 5"


def test_a_rare_word_is_found_though_statistics_think_it_frequent(monkeypatch: pytest.MonkeyPatch) -> None:
    fill(40)
    monkeypatch.setattr(keyset, "estimate", lambda rows: 1_000_000)
    monkeypatch.setattr(keyset.Order.walk, "__kwdefaults__", {"after": None, "before": None, "read": 7})
    oldest = Memory.objects.get(content="memory 1")
    words = Q(content_tsv=SearchQuery('"memory 1"', config="english", search_type="websearch"))
    page, total = keyset.search(Order(Memory, "created_at"), Memory.objects.all(), words, 4)
    assert [key.pk for key in page.keys] == [oldest.pk]
    assert (str(total), page.read) == ("1", None)
    frequent = Q(content_tsv=SearchQuery("memory", config="english", search_type="websearch"))
    page, total = keyset.search(Order(Memory, "created_at"), Memory.objects.all(), frequent, 4)
    assert (len(page.keys), str(total)) == (4, "about 1,000,000")
    with connection.cursor() as cursor:
        cursor.execute("SHOW enable_seqscan")
        assert cursor.fetchone() == ("on",)
