"""The pages of restores, and the answer while one is under way."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from html import unescape
from typing import Any

import pytest
from django.http import HttpResponse
from django.test import Client, RequestFactory
from django.urls import reverse
from django.utils.timezone import now

from agents.models import Agent
from arcweb import paused
from arcweb.backups import erasures
from arcweb.backups.exceptions import BackupError
from arcweb.backups.restore import launching, showing
from arcweb.backups.restore.journal import ASKED, EXCHANGING, FINISHED, RUNS, WAITING, Folder
from arcweb.backups.restore.middleware import PauseMiddleware
from arcweb.celery import app
from arcweb.events.models import Event
from arcweb.jobs.models import Job
from tests.backups.restore.journals import page, written
from tests.people import client_of

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("role", ["", "viewer", "operator"])
def test_only_who_may_restore_sees_or_does_anything(journals: Folder, role: str) -> None:
    journal = written(journals, WAITING)
    browser = client_of(role)
    for name in ("page", "progress"):
        assert browser.get(page(journal, name)).status_code == 403
    for name in ("confirm", "discard", "undo"):
        assert browser.post(page(journal, name), {"typed": journal.live}).status_code == 403
    assert browser.get(reverse("admin:backups_restores")).status_code == 403
    assert browser.post(reverse("admin:backups_erasures"), {"kind": "agent"}).status_code == 403
    found = journals.read(journal.id)
    assert found is not None
    assert found.state == WAITING


def test_a_confirmation_asks_for_the_name_and_starts_a_process(journals: Folder) -> None:
    journal = written(journals, WAITING, new_oid=1)
    browser = client_of("administrator")
    assert "Put it in place" in browser.get(page(journal)).content.decode()
    assert browser.get(page(journal, "confirm")).status_code == 405
    answer = browser.post(page(journal, "confirm"), {"typed": "something"}, follow=True)
    assert "type the name of the live database" in answer.content.decode()
    assert not Job.objects.exists()
    browser.post(page(journal, "confirm"), {"typed": journal.live})
    assert Job.objects.get().params == {"restore": journal.id}
    assert Event.objects.filter(kind="restore.confirmed", object_id=journal.id).exists()
    found = journals.read(journal.id)
    assert found is not None
    assert found.state == "confirmed"
    assert found.confirmed_by["kind"] == "user"
    again = browser.post(page(journal, "confirm"), {"typed": journal.live}, follow=True)
    assert "does not wait" in again.content.decode()
    assert Job.objects.count() == 1


def test_what_a_superuser_must_do_by_hand_is_said_before_the_confirmation(journals: Folder) -> None:
    statement = 'ALTER DATABASE "arc" SET "log_min_duration_statement" TO \'5s\';'
    what = {"what": "the setting log_min_duration_statement", "statement": statement}
    journal = written(
        journals, WAITING, facts={"by_hand": [what]}, keep_until=(now() + timedelta(hours=2)).isoformat()
    )
    text = unescape(client_of("administrator").get(page(journal)).content.decode())
    assert 0 < text.index(statement) < text.index("To confirm, type the name of the live database")


def test_a_database_of_its_own_takes_nothing_over(journals: Folder) -> None:
    side = {"count": 1, "exact": True, "newest": ""}
    found = {"table": "public.auth_user", "live": side, "new": side, "carried": True}
    journal = written(journals, FINISHED, swap=False, differences=[found])
    text = client_of("administrator").get(page(journal)).content.decode()
    assert "What differs from live" in text
    assert "carried over" not in text
    assert "as in the copy" in text


def test_what_could_not_be_settled_is_told_on_both_pages(journals: Folder) -> None:
    journal = written(journals, EXCHANGING, facts={"unsettled": "No space left on device."})
    browser = client_of("administrator")
    for address in (page(journal), reverse("admin:backups_restores")):
        text = browser.get(address).content.decode()
        assert '<span class="state bad">Left half done</span>' in text
        assert "No space left on device." in text
        assert "manage.py backup recover" in text
    with journals.locked("somebody works on it"):
        assert (
            "Left half done"
            not in browser.get(reverse("admin:backups_restores")).content.decode().split("<table")[0]
        )


def test_the_page_follows_what_is_under_way_and_then_stops_asking(journals: Folder) -> None:
    journal = written(journals, ASKED)
    browser = client_of("administrator")
    assert 'hx-get="/restores/' in browser.get(page(journal)).content.decode()
    assert "HX-Refresh" not in browser.get(page(journal, "progress")).headers
    journal.state, journal.keep_until = FINISHED, "2999-01-01T00:00:00+00:00"
    journals.write(journal)
    text = browser.get(page(journal)).content.decode()
    assert 'hx-get="/restores/' not in text
    assert "Undo this restore" in text
    assert browser.get(page(journal, "progress")).headers["HX-Refresh"] == "true"


def test_while_it_is_paused_pages_say_so_and_no_task_begins(
    journals: Folder, django_assert_num_queries: Any
) -> None:
    browser = client_of("administrator")
    journal = written(journals, EXCHANGING)
    journal.step("carry").state = RUNS
    journals.write(journal)
    address = showing.context(journal)["progress_url"]
    ran: list[int] = []

    @app.task(name="tests.restore.paused")
    def task() -> None:
        ran.append(1)

    paused.begin(journals.path.parent, paused.Pause(journal.id, "2026-01-01T00:00:00+00:00", "why"))
    with journals.locked("test"), django_assert_num_queries(0):
        answer = browser.get("/")
        assert answer.status_code == 503
        assert "A backup is being put in place" in answer.content.decode()
        assert answer.headers["Retry-After"]
        assert answer.headers["Cache-Control"] == "no-store"
        said = browser.get("/", headers={"HX-Request": "true"})
        assert (said.status_code, said.headers["Content-Type"]) == (503, "text/plain; charset=utf-8")
        assert said.content.startswith(b"A backup is being put in place. The database is exchanged")
        assert journal.file not in answer.content.decode(), "anybody reads this page"
        assert browser.post(page(journal, "confirm"), {"typed": journal.live}).status_code == 503
        assert browser.get(reverse("state")).status_code == 200
        answer = browser.get(address, headers={"HX-Request": "true"})
        assert answer.status_code == 200
        assert "Carry over what is newer" in answer.content.decode()
        assert browser.post(address).status_code == 503
        assert Client().get(page(journal, "progress") + "?token=guessed").status_code == 503
        other = showing.token("another")
        assert Client().get(f"{page(journal, 'progress')}?token={other}").status_code == 503
        task()
        assert ran == []
    paused.end(journals.path.parent)
    assert browser.get("/").status_code == 200
    task()
    assert ran == [1]


def test_what_a_killed_restore_left_is_settled_by_whoever_asks_and_not_at_every_request(
    journals: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[tuple[str, ...]] = []
    monkeypatch.setattr(launching, "spawn", lambda *arguments: started.append(arguments))
    journals.make()
    paused.begin(journals.path.parent, paused.Pause("", "", ""))
    middleware, request = PauseMiddleware(lambda request: HttpResponse("in")), RequestFactory().get("/")
    with journals.locked("a restore"):
        assert middleware(request).status_code == 503
        assert started == [], "somebody is at it"
    for _ in range(3):
        assert middleware(request).status_code == 503
    assert started == [("recover",)]
    monkeypatch.setattr("arcweb.backups.restore.middleware.RECOVER_EVERY", 0.0)
    middleware(request)
    assert started == [("recover",)] * 2


def test_a_pause_whose_recovery_cannot_be_started_is_a_page_and_no_error(journals: Folder) -> None:
    journals.make()
    paused.begin(journals.path.parent, paused.Pause("", "", ""))
    (journals.path / "log").mkdir()  # it cannot be opened
    answer = PauseMiddleware(lambda request: HttpResponse("in"))(RequestFactory().get("/"))
    assert answer.status_code == 503
    assert "A backup is being put in place" in answer.content.decode()


def test_an_erasure_is_written_down_and_done(journals: Folder) -> None:
    agent = Agent.objects.create(name="to be erased", type="x")
    kept = Agent.objects.create(name="to stay", type="x")
    browser, address = client_of("administrator"), reverse("admin:backups_erasures")
    for wrong in (
        {"kind": "agent", "agent": "no uuid", "typed": "erase"},
        {"kind": "metadata", "metadata": "{}", "typed": "erase"},
        {"kind": "metadata", "metadata": "[" * 1900, "typed": "erase"},
        # PostgreSQL takes neither: every restore would fail over the line.
        {"kind": "metadata", "metadata": '{"a": ["\\u0000"]}', "typed": "erase"},
        {"kind": "metadata", "metadata": '{"a": NaN}', "typed": "erase"},
        {"kind": "agent", "agent": str(agent.pk), "typed": "yes"},
    ):
        assert browser.post(address, wrong).status_code == 400
    assert erasures.read(journals.path.parent) == []
    answer = browser.post(address, {"kind": "agent", "agent": str(agent.pk), "typed": "erase"}, follow=True)
    assert str(agent.pk) in answer.content.decode()
    assert list(Agent.objects.all()) == [kept]
    (one,) = erasures.read(journals.path.parent)
    assert one.what == {"id": str(agent.pk)}
    ordered = datetime.fromisoformat(one.at)
    for minutes, wanted in ((-1, [one]), (30, [one]), (61, [])):
        moment = ordered + timedelta(minutes=minutes)
        assert erasures.newer_than(journals.path.parent, moment) == wanted, "a copy under way holds it still"
    event = Event.objects.get(kind="erasure.ordered")
    assert "to be erased" not in json.dumps(event.data)


def test_a_line_that_cannot_be_read_stops_every_restore(journals: Folder) -> None:
    erasures.order(journals.path.parent, "agent", {"id": "1"})
    with (journals.path.parent / erasures.NAME).open("a") as file:
        file.write('{"id": "cut')
    answer = client_of("administrator").get(reverse("admin:backups_erasures"))
    assert "Line 2" in answer.content.decode()
    with pytest.raises(BackupError, match="Line 2"):
        erasures.read(journals.path.parent)
