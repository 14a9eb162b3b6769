"""The events page."""

from __future__ import annotations

import re
import uuid
from html import unescape

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.urls import reverse

from agents.models import Agent
from arcweb.events import Actor, record
from arcweb.events.admin_views import PAGE_SIZE
from arcweb.events.forms import EventFilter
from arcweb.events.models import Event, EventDetail
from arcweb.events.querysets import Cursor
from tests.people import client_of

pytestmark = pytest.mark.django_db
URL = "/events/"
KIND = re.compile(r'title="Only events of this kind">(t\.[^<]*)</a>')
ADA = Actor("user", "41", "Ada Lovelace", "203.0.113.9")


@pytest.fixture
def reader(client: Client) -> Client:
    user = User.objects.create_user("reader", is_staff=True)
    for codename in ("view_event", "view_user"):
        user.user_permissions.add(Permission.objects.get(codename=codename))
    client.force_login(user)
    return client


def shown(client: Client, **query: str) -> list[str]:
    page = client.get(URL, query)
    assert page.status_code == 200
    return [unescape(kind) for kind in KIND.findall(page.content.decode())]


def test_it_needs_its_permission_and_is_listed_for_those_who_have_it(client: Client) -> None:
    assert reverse("admin:events") == URL
    assert client.get(URL).status_code == 302
    stranger = User.objects.create_user("stranger", is_staff=True)
    client.force_login(stranger)
    assert client.get(URL).status_code == 403
    assert f'href="{URL}"' not in client.get("/").content.decode()
    stranger.user_permissions.add(Permission.objects.get(codename="view_event"))
    assert f'href="{URL}"' in client.get("/").content.decode()
    assert client.post(URL).status_code == 405


def test_each_filter_narrows_the_list(reader: Client) -> None:
    key = str(uuid.uuid4())
    record("t.one", actor=ADA, object_type="agents.agent", object_id=key, label="Scout")
    record("t.two", actor=Actor("service", "billing"), object_type="auth.user", object_id="9", label="Grace")
    assert shown(reader, kind="t.") == ["t.two", "t.one"]
    assert shown(reader, kind="t.o") == ["t.one"]
    assert shown(reader, actor="41") == ["t.one"]
    assert shown(reader, actor="ada") == ["t.one"]
    assert shown(reader, actor="billing") == ["t.two"]
    assert shown(reader, actor="nobody") == []
    assert shown(reader, object=key) == ["t.one"]
    assert shown(reader, object="auth.user/9") == ["t.two"]
    assert shown(reader, object="gra") == ["t.two"]
    assert shown(reader, object="%") == []
    today = Event.objects.latest("occurred_at").occurred_at.date().isoformat()
    assert shown(reader, kind="t.", first=today, last=today) == ["t.two", "t.one"]
    assert shown(reader, kind="t.", last="2001-01-01") == []


def test_the_events_of_an_agent_are_found_by_its_id_and_its_name(reader: Client) -> None:
    agent, other = (
        Agent.objects.create(name="Scout_1", type="a"),
        Agent.objects.create(name="Scout 2", type="a"),
    )
    record("t.one", actor=ADA, object_type="memories.memory", object_id="7", agent_id=agent.pk)
    record("t.two", actor=ADA, agent_id=other.pk)
    record("t.three", actor=ADA)
    assert shown(reader, agent=str(agent.pk)) == ["t.one"]
    assert shown(reader, agent="scout_") == ["t.one"]
    assert shown(reader, agent="scout") == ["t.two", "t.one"]
    assert shown(reader, agent="scout", kind="t.t") == ["t.two"]
    assert shown(reader, agent=str(uuid.uuid4())) == []
    assert shown(reader, agent="nobody") == []


def test_several_kinds_and_names_are_merged_in_the_order_of_time_and_turn_like_any_list(
    reader: Client,
) -> None:
    for number in range(3 * PAGE_SIZE):
        name = ("Ada", "adele", "Grace")[number % 3]
        record(f"t.{number % 7}", actor=Actor("user", f"{number % 3}", name), label=f"{name}'s")
    filters = {"kind": "t.", "actor": "ad"}
    everything = list(Event.objects.filter(actor_id__in=["0", "1"], kind__startswith="t."))
    everything.sort(key=lambda event: event.pk, reverse=True)
    first = EventFilter(filters, Event.objects.kinds())
    assert first.is_valid()
    page = first.events().page(PAGE_SIZE)
    assert [event.pk for event in page.events] == [event.pk for event in everything[:PAGE_SIZE]]
    rest = first.events().page(PAGE_SIZE, older_than=page.older)
    assert [event.pk for event in rest.events] == [event.pk for event in everything[PAGE_SIZE:]]
    back = first.events().page(PAGE_SIZE, newer_than=Cursor(*rest.events[0].pk))
    assert [event.pk for event in back.events] == [event.pk for event in page.events]
    assert first.events().counted(1000) == len(everything)


def test_somebody_without_an_id_is_found_by_name(reader: Client) -> None:
    record("t.one", actor=Actor("user", "", "Mallory"), label="Mallory's door")
    record("t.two", actor=Actor("user", "", "Trent"))
    record("t.three", actor=Actor("user", "", "Weiß"))
    assert shown(reader, actor="mal") == ["t.one"]
    assert shown(reader, object="mal") == ["t.one"]
    assert shown(reader, actor="weiß") == ["t.three"]  # which Python writes WEISS, and PostgreSQL does not


def test_a_line_is_a_sentence_with_actor_and_link(reader: Client) -> None:
    user = User.objects.create_user("grace")
    record("user.changed", obj=user, actor=ADA, data={"fields": ["email", "name"]})
    record("user.deleted", obj=user, actor=ADA)
    record("odd.kind", actor=Actor("user", ""), label="<script>alert(1)</script>")
    page = reader.get(URL).content.decode()
    assert f'<a href="/auth/user/{user.pk}/change/">changed user grace: email, name</a>' in page
    assert "deleted user grace" in page
    assert page.count(f"/auth/user/{user.pk}/change/") == 1  # what is deleted has no page
    assert "Ada Lovelace" in page
    assert "somebody not logged in" in page
    assert "<script>alert" not in page


def test_only_what_the_reader_may_see_is_a_link() -> None:
    user, agent = User.objects.create_user("grace"), uuid.uuid4()
    record("user.changed", obj=user, actor=ADA, agent_id=agent)
    viewer, boss = client_of("viewer"), client_of("administrator")
    for path in (URL, "/panels/events/", f"/agents/agent/{agent}/panels/agent-events/"):
        assert "changed user grace" in viewer.get(path).content.decode()
        assert f"/auth/user/{user.pk}/" not in viewer.get(path).content.decode()
        assert f"/auth/user/{user.pk}/" in boss.get(path).content.decode()


def test_erased_details_leave_a_readable_line(reader: Client) -> None:
    record("user.changed", actor=ADA, object_type="auth.user", object_id="5", label="grace")
    EventDetail.objects.all().delete()
    page = reader.get(URL).content.decode()
    assert "changed user 5" in page
    assert "user 41" in page


def test_pages_turn_both_ways_without_gap_or_repeat(reader: Client) -> None:
    for number in range(2 * PAGE_SIZE + 7):
        record(f"t.{number:03}", actor=ADA)
    everything = [f"t.{number:03}" for number in reversed(range(2 * PAGE_SIZE + 7))]

    def follow(url: str, name: str) -> tuple[list[str], str | None]:
        page = reader.get(url).content.decode()
        link = re.search(rf'rel="{name}" href="([^"]*)"', page)
        return KIND.findall(page), URL + unescape(link[1]) if link else None

    down: list[str] = []
    url: str | None = f"{URL}?kind=t."
    last = ""
    while url:
        last = url
        lines, url = follow(url, "next")
        down += lines
    assert down == everything
    up: list[str] = []
    url = last
    while url:
        lines, url = follow(url, "prev")
        up = lines + up
    assert up == everything


@pytest.mark.parametrize(
    "query",
    [
        {"older": "x"},
        {"older": "2026-01-01T00:00:00~1"},
        {"newer": f"2026-01-01T00:00:00+00:00~{2**63}"},
        {"older": "2026-01-01T00:00:00+00:00~²"},
        {"first": "soon", "last": "2026-02-31", "kind": "a" * 101, "actor": "\x00", "object": "\ud800"},
        {"first": "0001-01-01", "last": "9999-12-31"},
        {"object": "/"},
    ],
)
def test_bad_input_is_answered(reader: Client, query: dict[str, str]) -> None:
    assert reader.get(
        URL, {key: value.encode("utf-8", "surrogatepass") for key, value in query.items()}
    ).status_code == (400 if "\x00" in "".join(query.values()) else 200)


def test_a_cursor_survives_the_round_trip() -> None:
    record("t.one")
    cursor = Cursor(*Event.objects.get().pk)
    assert Cursor.parse(str(cursor)) == cursor


def test_queries_do_not_grow_with_the_rows(reader: Client, django_assert_num_queries: object) -> None:
    for rows in (10, 300):
        for number in range(rows):
            record(f"t.{number}", actor=ADA, object_type="auth.user", object_id=str(number), label="x")
        # session and user, permissions (own, group), kinds, exact actor?, who is named so, events, details
        with django_assert_num_queries(8):  # type: ignore[operator]
            reader.get(URL, {"kind": "t.", "actor": "ada"})


def test_what_a_reader_may_not_see_is_no_link(reader: Client) -> None:
    record("agent.changed", actor=ADA, object_type="agents.agent", object_id=str(uuid.uuid4()), label="Scout")
    assert "changed agent Scout" in reader.get(URL).content.decode()
    assert "/agents/agent/" not in reader.get(URL).content.decode()
    User.objects.get(username="reader").user_permissions.add(Permission.objects.get(codename="view_agent"))
    assert "/agents/agent/" in reader.get(URL).content.decode()


def test_events_stand_under_their_days(reader: Client) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO events.events (kind, occurred_at) VALUES"
            " ('t.old', '2021-03-04 23:59:59+00'), ('t.older', '2021-03-04 00:00:00+00'),"
            " ('t.yesterday', now() - interval '1 day')"
        )
    record("t.now", actor=ADA)
    page = reader.get(URL).content.decode()
    headings = re.findall(r'<h2 id="day-\d+">([^<]*)</h2>', page)
    assert [heading.partition(",")[0] for heading in headings[:2]] == ["Today", "Yesterday"]
    assert headings[2:] == ["4 March 2021"]
    assert page.count(">23:59:59<") == 1


def test_kinds_are_offered_by_what_they_are_about(reader: Client) -> None:
    record("robot.started")
    record("t.one")
    page = reader.get(URL, {"kind": "t.on"}).content.decode()
    assert '<optgroup label="Logins">' in page
    assert '<option value="auth.">Logins: all</option>' in page
    assert '<optgroup label="Robot">' in page
    assert '<option value="t.on" selected>begins with t.on</option>' in page
    assert '<option value="auth.locked_out">' in page, "offered before it ever happened"


def test_a_known_kind_is_meant_exactly(reader: Client) -> None:
    for kind in ("t.cancel", "t.cancelled"):
        record(kind, actor=ADA)
    assert shown(reader, kind="t.cancel") == ["t.cancel"]
    assert shown(reader, kind="t.cance") == ["t.cancelled", "t.cancel"]


def test_an_erased_event_says_so_and_one_without_details_does_not(reader: Client) -> None:
    record("user.changed", actor=ADA, object_type="auth.user", object_id="5", label="grace")
    assert "erased" not in re.sub("can be erased", "", reader.get(URL).content.decode())
    EventDetail.objects.all().delete()
    assert "names and address erased" in reader.get(URL).content.decode()
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO events.events (kind) VALUES ('robot.started')")
    page = reader.get(URL, {"kind": "robot.started"}).content.decode()
    assert "robot.started" in page
    assert "names and address erased" not in page


def test_days_the_wrong_way_round_are_told(reader: Client) -> None:
    page = reader.get(URL, {"first": "2026-02-02", "last": "2026-02-01"}).content.decode()
    assert "The first day is after the last" in page


def test_empty_pages_say_what_to_do(reader: Client) -> None:
    assert "No event passes these filters" in reader.get(URL, {"actor": "nobody"}).content.decode()
    page = reader.get(URL, {"older": "2001-01-01T00:00:00+00:00~1", "kind": "auth."}).content.decode()
    assert "There is nothing further here" in page
    assert 'href="?kind=auth."' in page


@pytest.mark.parametrize("moment", ["infinity", "-infinity", "0044-03-15 BC", "12026-01-01"])
def test_an_event_of_no_time_that_a_page_could_show_hides_no_other(reader: Client, moment: str) -> None:
    record("t.one", actor=ADA)
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO events.events (kind, occurred_at) VALUES ('t.x', %s)", [moment])
    assert shown(reader) == ["t.one"]
    assert "t.one" in reader.get("/events/live/").content.decode()
    boss = client_of("administrator")
    answer = boss.post("/events/export/", {"format": "jsonl", "kind": "t."})
    assert b"t.one" in answer.getvalue()
