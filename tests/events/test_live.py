"""The live tail: every event once, whatever order transactions end in, however many there are."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from html import unescape
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.utils import timezone

from arcweb.events import Actor, live, record
from arcweb.events.live import Mark
from arcweb.events.models import Event
from tests.people import client_of

URL = "/events/live/"
ADA = Actor("user", "41", "Ada Lovelace")
KINDS = re.compile(r'title="Only events of this kind">(t\.[^<]*)</a>')
MARK = re.compile(r'id="tail-mark" value="([^"]*)"')
HTMX = {"HX-Request": "true"}


class Reader:
    """What the page of a person does: keeps the mark, and the lines on top of those before."""

    def __init__(self, client: Client, **filters: str) -> None:
        self.client, self.filters = client, filters
        page = client.get(URL, filters).content.decode()
        self.lines = KINDS.findall(page)
        self.mark = unescape(MARK.findall(page)[0])
        self.more = False

    def look(self) -> list[str]:
        answer = self.client.get(URL, {**self.filters, "after": self.mark}, headers=HTMX)
        assert answer.status_code == 200
        page = answer.content.decode()
        assert "<html" not in page
        fresh = KINDS.findall(page)
        self.lines = fresh + self.lines
        self.mark = unescape(MARK.findall(page)[0])
        self.more = "data-more" in page
        return fresh


@pytest.fixture
def other() -> Iterator[Any]:
    """A connection of another writer."""
    copy = connection.copy()
    yield copy
    copy.close()


@pytest.mark.django_db
def test_it_needs_its_permission_and_begins_with_the_newest() -> None:
    assert Client().get(URL).status_code == 302
    assert client_of().get(URL).status_code == 403
    for number in range(60):
        record(f"t.{number}", actor=ADA)
    reader = Reader(client_of("viewer"), kind="t.")
    assert reader.lines == [f"t.{number}" for number in range(59, 9, -1)]
    assert reader.look() == []
    record("t.60", actor=ADA)
    record("u.60", actor=ADA)
    assert reader.look() == ["t.60"]
    assert reader.look() == []


@pytest.mark.django_db(transaction=True)
def test_an_event_that_commits_late_is_shown_then_and_once(other: Any) -> None:
    reader = Reader(client_of("viewer"), kind="t.")
    with other.cursor() as cursor:
        cursor.execute("BEGIN; INSERT INTO events.events (kind) VALUES ('t.late')")
    record("t.one")
    record("t.two")
    assert reader.look() == ["t.two", "t.one"]
    assert reader.look() == []
    with other.cursor() as cursor:
        cursor.execute("COMMIT")
    record("t.three")
    assert reader.look() == ["t.three", "t.late"]
    assert reader.look() == []
    assert sorted(reader.lines) == ["t.late", "t.one", "t.three", "t.two"]


@pytest.mark.django_db(transaction=True)
def test_a_transaction_that_began_long_before_keeps_its_place_open(
    other: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    # By its beginning alone, however long ago: what is looked at again in any case is not what helps.
    monkeypatch.setattr(live, "OVERLAP", timedelta(0))
    monkeypatch.setattr(live, "BLIND", timedelta(0))
    with other.cursor() as cursor:
        cursor.execute("BEGIN; INSERT INTO events.events (kind, occurred_at) VALUES ('t.late', now())")
        cursor.execute("SELECT xact_start FROM pg_stat_activity WHERE pid = pg_backend_pid()")
        (began,) = cursor.fetchone()
    reader = Reader(client_of("viewer"), kind="t.")
    assert Mark.parse(reader.mark).since <= began
    assert Mark.parse(reader.mark).since > timezone.now() - live.LONGEST - timedelta(minutes=1)
    with other.cursor() as cursor:
        cursor.execute("COMMIT")
    assert reader.look() == ["t.late"]


@pytest.mark.django_db
def test_more_than_one_answer_holds_comes_with_the_next_in_the_order_of_time(monkeypatch: Any) -> None:
    monkeypatch.setattr(live, "MOST_LINES", 10)
    reader = Reader(client_of("viewer"), kind="t.")
    for number in range(25):
        record(f"t.{number:02}", actor=ADA)
    assert reader.look() == [f"t.{number:02}" for number in range(9, -1, -1)]
    assert reader.more
    reader.look()
    assert reader.look() == [f"t.{number:02}" for number in range(24, 19, -1)]
    assert not reader.more
    assert reader.lines == [f"t.{number:02}" for number in range(24, -1, -1)]


@pytest.mark.django_db
def test_more_than_a_mark_remembers_is_neither_lost_nor_repeated(monkeypatch: Any) -> None:
    monkeypatch.setattr(live, "MOST_LINES", 7)
    monkeypatch.setattr(live, "MOST_SEEN", 20)
    reader = Reader(client_of("viewer"), kind="t.")
    base = timezone.now()
    for number in range(100):
        moment = base + timedelta(milliseconds=number)
        with connection.cursor() as cursor:
            cursor.execute(
                "INSERT INTO events.events (kind, occurred_at) VALUES (%s, %s)", [f"t.{number}", moment]
            )
    for _ in range(20):
        reader.look()
    assert reader.lines == [f"t.{number}" for number in range(99, -1, -1)]
    assert len(Mark.parse(reader.mark).seen) <= 20
    again = Reader(client_of("viewer"), kind="t.")
    assert again.look() == []


@pytest.mark.django_db
def test_a_mark_survives_the_round_trip_and_a_mangled_one_begins_anew() -> None:
    now = timezone.now()
    for seen in (set(), {1}, {5, 36, 37, 10**12}):
        mark = Mark(now, frozenset(seen))
        assert Mark.parse(str(mark)) == mark
    assert len(str(Mark(now, frozenset(range(10**9, 10**9 + 3 * live.MOST_SEEN, 3))))) < 2_500
    record("t.one", actor=ADA)
    client = client_of("viewer")
    for bad in (
        "",
        "x",
        "2026-01-01~1",
        "2026-01-01T00:00:00+00:00~-1",
        "2026-01-01T00:00:00+00:00~²",
        "~" * 99,
    ):
        answer = client.get(URL, {"after": bad}, headers=HTMX)
        assert answer.status_code == 200
        assert KINDS.findall(answer.content.decode()) == []
        assert MARK.findall(answer.content.decode())
    old = Mark(now - live.OLDEST - timedelta(hours=1), frozenset())
    assert KINDS.findall(client.get(URL, {"after": str(old)}, headers=HTMX).content.decode()) == []


@pytest.mark.django_db
def test_queries_do_not_grow_with_the_events(django_assert_num_queries: Any) -> None:
    reader = Reader(client_of("viewer"), kind="t.")
    for rows in (5, 60):
        for number in range(rows):
            record(f"t.{number}", actor=ADA)
        # session and user, permissions (own, group), kinds, who runs, events, details
        with django_assert_num_queries(7):
            assert len(reader.look()) == rows
    assert Event.objects.filter(kind__startswith="t.").count() == 65
