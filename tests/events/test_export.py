"""Events as files: what is in them, who may have what, and what a large one costs."""

from __future__ import annotations

import csv
import io
import json
import tracemalloc
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.http import StreamingHttpResponse
from django.test import Client
from django.test.utils import CaptureQueriesContext

from arcweb.events import Actor, export, record
from arcweb.events.models import Event, EventDetail

pytestmark = pytest.mark.django_db
URL = "/events/export/"
ADA = Actor("user", "41", "Ada Lovelace", "203.0.113.9", "Firefox")


def a_client(*codenames: str) -> Client:
    user = User.objects.create_user("-".join(codenames) or "nobody", is_staff=True)
    for codename in codenames:
        user.user_permissions.add(Permission.objects.get(codename=codename))
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def auditor(db: None) -> Client:
    return a_client("view_event", "export_event", "export_personal")


def content(response: Any) -> str:
    assert response.status_code == 200
    assert isinstance(response, StreamingHttpResponse)
    return b"".join(response.streaming_content).decode()


def rows(response: Any) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(content(response), newline="")))


def lines(response: Any) -> list[dict[str, Any]]:
    return [json.loads(line) for line in content(response).splitlines()]


def test_csv_holds_what_passes_the_filters_with_names_and_facts(auditor: Client) -> None:
    record(
        "t.one",
        actor=ADA,
        object_type="agents.agent",
        object_id="7",
        label='Scout, "the" one\nand more',
        data={"fields": ["name"]},
        note="by phone",
    )
    record("t.two", actor=Actor("service", "billing"))
    response = auditor.post(URL, {"format": "csv", "kind": "t.one"})
    assert response["Content-Type"].startswith("text/csv")
    assert response["Content-Disposition"].startswith('attachment; filename="events-20')
    assert "no-store" in response["Cache-Control"]
    [row] = rows(response)
    assert (row["kind"], row["actor_id"], row["actor_name"]) == ("t.one", "41", "Ada Lovelace")
    assert (row["address"], row["user_agent"], row["note"]) == ("203.0.113.9", "Firefox", "by phone")
    assert row["label"] == 'Scout, "the" one\nand more'
    assert json.loads(row["data"]) == {"fields": ["name"]}
    assert row["occurred_at"] == Event.objects.get(kind="t.one").occurred_at.isoformat()


def test_json_lines_are_objects_and_tell_what_is_erased(auditor: Client) -> None:
    record("t.one", actor=ADA, label="Zoë\u2028", data={"n": 1})
    record("t.two", actor=ADA)
    EventDetail.objects.filter(event_id=Event.objects.get(kind="t.two").id).delete()
    two, one = lines(auditor.post(URL, {"format": "jsonl", "kind": "t."}))
    assert (one["kind"], one["data"], one["details"]["label"]) == ("t.one", {"n": 1}, "Zoë\u2028")
    assert one["occurred_at"] == Event.objects.get(kind="t.one").occurred_at.isoformat()
    assert (two["kind"], two["details"], two["agent_id"]) == ("t.two", None, None)


@pytest.mark.parametrize("start", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1"])
def test_no_cell_is_a_formula(auditor: Client, start: str) -> None:
    record("t.one", actor=Actor("user", start, start, None, start), object_id=start, label=start, note=start)
    [row] = rows(auditor.post(URL, {"format": "csv", "kind": "t.one"}))
    assert all(row[name] == f"'{start}" for name in ("actor_id", "actor_name", "object_id", "label", "note"))
    [line] = lines(auditor.post(URL, {"format": "jsonl", "kind": "t.one"}))
    assert line["details"]["label"] == start, "a program gets what it is"


def test_names_and_addresses_are_for_those_who_may_have_them() -> None:
    record("t.one", actor=ADA, label="Scout", note="by phone")
    client = a_client("view_event", "export_event")
    for kind in ("csv", "jsonl"):
        text = content(client.post(URL, {"format": kind, "kind": "t."}))
        assert "t.one" in text
        for secret in ("Ada", "203.0.113.9", "Firefox", "Scout", "phone", "actor_name", "details"):
            assert secret not in text
    assert "without names" in client.get("/events/").content.decode()


def test_it_needs_its_permission_and_a_post(auditor: Client) -> None:
    reader = a_client("view_event")
    assert reader.post(URL, {"format": "csv"}).status_code == 403
    assert "Export CSV" not in reader.get("/events/").content.decode()
    assert Client().post(URL, {"format": "csv"}).status_code == 302
    assert auditor.get(URL).status_code == 405
    assert "Export CSV" in auditor.get("/events/").content.decode()
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(User.objects.get(username__startswith="view_event-export"))
    assert strict.post(URL, {"format": "csv"}).status_code == 403


def test_an_export_is_an_event_before_it_is_sent(auditor: Client) -> None:
    record("t.one", actor=ADA)
    response = auditor.post(URL, {"format": "jsonl", "kind": "t.", "actor": "ada"})
    event = Event.objects.get(kind="events.exported")
    assert event.data == {"events": 1, "format": "jsonl", "personal": True, "filters": ["actor", "kind"]}
    assert "ada" not in str(event.data)
    assert EventDetail.objects.get(pk=event.pk).note == "kind=t.&actor=ada"
    assert len(lines(response)) == 1


def test_the_number_that_is_recorded_is_the_number_that_is_sent(auditor: Client) -> None:
    for number in range(3):
        record(f"t.{number}")
    sent = lines(auditor.post(URL, {"format": "jsonl"}))
    assert Event.objects.get(kind="events.exported").data["events"] == len(sent)
    assert "events.exported" not in {line["kind"] for line in sent}
    assert content(auditor.post(URL, {"format": "jsonl", "kind": "nothing."})) == ""


def test_more_than_fits_is_refused_in_a_sentence(auditor: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "MOST_EXPORTED", 2)
    for number in range(3):
        record(f"t.{number}")
    response = auditor.post(URL, {"format": "csv", "kind": "t."}, follow=True)
    assert "more than 2 events pass these filters" in response.content.decode()
    assert response.redirect_chain[0][0] == "/events/?kind=t."
    assert not Event.objects.filter(kind="events.exported").exists()
    assert len(rows(auditor.post(URL, {"format": "csv", "kind": "t.1"}))) == 1


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        ({}, 400),
        ({"format": "exe"}, 400),
        ({"format": "csv", "first": "soon"}, 302),
        ({"format": "csv", "kind": "x" * 101}, 302),
        ({"format": "csv", "actor": "\x00"}, 302),
    ],
)
def test_bad_input_exports_nothing(auditor: Client, sent: dict[str, str], status: int) -> None:
    assert auditor.post(URL, sent).status_code == status
    assert not Event.objects.filter(kind="events.exported").exists()


def many(number: int) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO events.events (kind, occurred_at, data)"
            " SELECT 't.many', '2026-01-01'::timestamptz + i / 3 * interval '1 s', jsonb_build_object('i', i)"
            " FROM generate_series(1, %s) AS i",
            [number],
        )
        cursor.execute(
            "INSERT INTO events.event_details (occurred_at, event_id, label)"
            " SELECT occurred_at, id, 'label ' || id FROM events.events WHERE kind = 't.many'"
        )
        cursor.execute("ANALYZE events.events, events.event_details")


def test_twenty_thousand_events_are_read_in_batches_in_constant_memory(auditor: Client) -> None:
    number = 20_000
    many(number)
    tracemalloc.start()
    try:
        with CaptureQueriesContext(connection) as queries:
            response = auditor.post(URL, {"format": "jsonl", "kind": "t.many"})
            before = len(queries)
            stream: Iterator[bytes] = iter(response.streaming_content)  # type: ignore[arg-type]
            first = json.loads(next(stream))
            assert len(queries) == before + 2, "nothing is read ahead"
            tracemalloc.reset_peak()
            base = tracemalloc.get_traced_memory()[0]
            seen, last = 1, first
            for line in stream:
                seen, last = seen + 1, json.loads(line)
            peak = tracemalloc.get_traced_memory()[1] - base
            batches = (len(queries) - before) / 2
    finally:
        tracemalloc.stop()
    assert seen == number
    assert (first["data"]["i"], last["data"]["i"]) == (number, 1)
    assert last["details"]["label"] == f"label {last['id']}"
    assert batches == number / export.BATCH
    print(f"\n20,000 events exported: {peak / 1e6:.1f} MB at most above the first batch")
    assert peak < 8_000_000, peak
