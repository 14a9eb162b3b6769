"""What people ask for on the pages: what of a copy is restored and where to, an undo, what is thrown away."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.urls import reverse

from arcweb.backups.models import Backup
from arcweb.backups.restore.journal import (
    ASKED,
    BROKEN,
    CONFIRMED,
    DROPPED,
    FINISHED,
    WAITING,
    Folder,
)
from arcweb.backups.restore.requests import go_on
from arcweb.events.models import Event
from arcweb.jobs.models import Job
from tests.backups.made import make_copy
from tests.backups.restore.journals import page, written
from tests.people import client_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def admin(db: None) -> Client:
    return client_of("administrator")


def of(backup: Backup) -> str:
    return reverse("admin:backups_restore", args=[backup.pk])


def started() -> list[Any]:
    """What jobs are to start, the oldest first."""
    return list(Job.objects.order_by("created_at").values_list("kind", "params"))


@pytest.mark.parametrize(
    "given",
    [
        {"what": "agent", "as_name": "then"},
        {"what": "table", "table": "memories"},
        {"what": "own"},
        {"what": "own", "database": " "},
        {"what": "something"},
    ],
)
def test_half_a_choice_begins_nothing(journals: Folder, admin: Client, given: dict[str, str]) -> None:
    assert admin.post(of(make_copy()), given).status_code == 400
    assert journals.all() == []
    assert started() == []


def test_a_part_of_a_copy_is_a_job(journals: Folder, admin: Client) -> None:
    backup = make_copy()
    wanted = {"backup": str(backup.pk), "agent": "Agent 1", "name": "then", "table": ""}
    answer = admin.post(of(backup), {"what": "agent", "agent": "Agent 1", "as_name": "then", "table": "a.b"})
    assert started() == [("restore-part", wanted)]
    assert answer.headers["Location"] == f"/jobs/job/{Job.objects.get().pk}/change/"
    admin.post(of(backup), {"what": "table", "table": "agents.agents", "agent": "Agent 1", "as_name": "then"})
    wanted |= {"agent": "", "name": "", "table": "agents.agents"}
    assert started()[1:] == [("restore-part", wanted)]
    told = Event.objects.filter(kind="restore.started", object_id=str(backup.pk))
    assert sorted(one.data["part"] for one in told) == ["agent", "table"]
    assert journals.all() == []


def test_a_whole_copy_is_restored_beside_live_and_one_at_a_time(journals: Folder, admin: Client) -> None:
    backup, name = make_copy(), f"arc_own_{uuid.uuid4().hex[:8]}"
    taken = admin.post(of(backup), {"what": "own", "database": str(connection.settings_dict["NAME"])})
    assert "choose a name that none has" in taken.content.decode()
    answer = admin.post(of(backup), {"what": "own", "database": name})
    (journal,) = journals.all()
    assert answer.headers["Location"] == page(journal)
    assert (journal.state, journal.new, journal.swap) == (ASKED, name, False)
    assert (journal.backup, journal.actor["kind"]) == (str(backup.pk), "user")
    assert started() == [("restore-start", {"restore": journal.id})]
    second = admin.post(of(backup), {"what": "whole", "database": name})
    assert (second.status_code, "under way" in second.content.decode()) == (400, True)
    journal.state = BROKEN
    journals.write(journal)
    # The first one's job, which no worker has taken up, stands in nobody's way.
    admin.post(of(backup), {"what": "whole", "database": name})
    newest = journals.all()[0]
    assert (newest.swap, newest.new) == (True, f"arc_restore_{newest.id[:8]}")
    assert started()[1:] == [("restore-start", {"restore": newest.id})]
    go_on(newest)
    assert len(started()) == 2


def test_what_is_restored_in_another_way_begins_nothing_here(journals: Folder, admin: Client) -> None:
    for gone in ("running", "failed", "deleted", "bad"):
        assert admin.post(of(make_copy(gone)), {"what": "whole"}).status_code == 404
    for other in (make_copy(source="redis-state", format_="rdb"), make_copy(format_="base")):
        answer = admin.post(of(other), {"what": "whole"})
        assert answer.headers["Location"] == f"/backups/{other.pk}/"
    assert journals.all() == []
    assert started() == []


def test_an_undo_is_asked_for_with_the_name_of_live(journals: Folder, admin: Client) -> None:
    done = written(journals, FINISHED, live_oid=1, finished_at="2026-01-01T00:00:00+00:00")
    assert "Undo this restore" in admin.get(page(done)).content.decode()
    admin.post(page(done, "undo"), {"typed": "something"})
    assert journals.all() == [done]
    answer = admin.post(page(done, "undo"), {"typed": done.live})
    (undo,) = (one for one in journals.all() if one.id != done.id)
    assert answer.headers["Location"] == page(undo)
    assert (undo.kind, undo.state, undo.of, undo.new) == ("undo", CONFIRMED, done.id, done.before)
    assert undo.confirmed_by["kind"] == "user"
    assert started() == [("restore-start", {"restore": undo.id})]
    assert Event.objects.filter(kind="restore.confirmed", object_id=undo.id).exists()
    assert 'hx-get="/restores/' in admin.get(page(undo)).content.decode(), "its page follows it"
    done.undone_at = "2026-01-01T01:00:00+00:00"
    journals.write(done)
    text = admin.get(page(done)).content.decode()
    assert '<span class="state idle">Undone</span>' in text
    assert "Undo this restore" not in text


def test_only_what_waits_is_thrown_away(journals: Folder, admin: Client) -> None:
    done, waiting = written(journals, FINISHED), written(journals, WAITING)
    with journals.locked("another"):
        admin.post(page(waiting, "discard"))
    assert journals.read(waiting.id) == waiting, "somebody is at it"
    admin.post(page(done, "discard"))
    assert journals.read(done.id) == done
    admin.post(page(waiting, "discard"))
    found = journals.read(waiting.id)
    assert found is not None
    assert (found.state, bool(found.dropped_at)) == (DROPPED, True)
    assert Event.objects.filter(kind="restore.discarded", object_id=waiting.id).count() == 1
