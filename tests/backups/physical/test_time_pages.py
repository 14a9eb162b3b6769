"""The page of moments: drawn, said, confirmed by name, refused without the right."""

from __future__ import annotations

import re
import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from arcweb.backups.models import Backup
from arcweb.backups.physical import drawing, recovery
from arcweb.backups.physical.journal import CONFIRMED, DROPPED, FINISHED, WAITING, Journal
from arcweb.backups.physical.timeline import Picture, Point, Stretch
from arcweb.embedded.stack import Stack
from arcweb.jobs.models import Job
from tests.backups.physical.conftest import Story, know

PAGE = "/point-in-time/"


@pytest.fixture
def operator(here: Stack, client: Client) -> Client:
    user = User.objects.create_user("operator", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=["restore_backup", "view_backup"]))
    client.force_login(user)
    return client


def waiting() -> Journal:
    journal = Journal.begin("2026-11-23T07:00:00+00:00", {"kind": "user", "id": "1", "name": "operator"})
    journal.state = WAITING
    journal.keep_until = (datetime.now(UTC) + timedelta(hours=5)).isoformat()
    journal.tables = [
        {"table": "agents.agents", "live": 0, "new": 4},
        {"table": "agents.gone", "live": None, "new": 1},
        {"table": "auth_user", "live": 2, "new": 2},
    ]
    recovery.journals().write(journal)
    return journal


def test_the_timeline_is_drawn_and_said(operator: Client, story: Story) -> None:
    page = operator.get(PAGE).content.decode()
    label = re.search(r'<svg viewBox="0 0 960 84" role="img" aria-label="([^"]+)"', page)
    assert label is not None
    assert label[1].startswith("Recoverable: 20")
    assert label[1].endswith("2 base backups.")
    assert page.count('class="base" cx=') == page.count('class="incremental" cx=') == 2  # with the legend
    assert "Go back to (UTC)" in page
    rows = page.partition('id="bases"')[2].split("<tr>")[2:]  # newest first
    for row, copy, state in zip(
        rows, (story.incremental, story.whole), ("Not proven", "Verified"), strict=True
    ):
        assert copy.file.name in row
        assert f">{state}</span>" in row


def test_as_many_queries_with_many_copies_as_with_few(operator: Client, story: Story) -> None:
    def count() -> int:
        with CaptureQueriesContext(
            connection,
        ) as found:
            assert operator.get(PAGE).status_code == 200
        return len(found)

    before = count()
    for number in range(5):
        id_ = str(uuid.uuid4())
        name = f"postgres-2026112{number}T000000Z-{id_[:8]}.tar.zst"
        know(replace(story.whole, id=id_, file=replace(story.whole.file, name=name)))
    assert count() == before


def test_a_moment_is_asked_for_and_a_process_is_to_prepare_it(operator: Client, story: Story) -> None:
    wanted = f"{story.good.astimezone(UTC):%Y-%m-%dT%H:%M:%S}"
    answer = operator.post(PAGE, {"moment": wanted})
    (journal,) = recovery.journals().all()
    assert answer.status_code == 302
    assert answer["Location"] == f"{PAGE}{journal.id}/"
    assert journal.target == f"{wanted}+00:00"
    assert Job.objects.get(kind="restore-time-start").params == {"restore": journal.id}
    page = operator.get(answer["Location"]).content.decode()
    assert "Asked for" in page
    assert f'hx-get="{answer["Location"]}progress/' in page
    # A second one waits for the first.
    second = operator.post(PAGE, {"moment": wanted})
    assert second.status_code == 400
    assert "Another restore is under way" in second.content.decode()


@pytest.mark.parametrize("moment", ["", "yesterday", "2026-13-01T00:00"])
def test_what_is_no_time_is_said(operator: Client, moment: str) -> None:
    assert operator.post(PAGE, {"moment": moment}).status_code == 400
    assert recovery.journals().all() == []


def test_the_name_must_be_typed_before_anything_is_exchanged(operator: Client) -> None:
    journal = waiting()
    page = operator.get(f"{PAGE}{journal.id}/").content.decode()
    assert "Waits for your confirmation" in page
    assert "no such table" in page
    assert "auth_user" not in page.partition("differs")[2]
    operator.post(f"{PAGE}{journal.id}/confirm/", {"typed": "wrong"})
    assert recovery.journals().read(journal.id).state == WAITING  # type: ignore[union-attr]
    assert not Job.objects.filter(kind="restore-time-start").exists()
    operator.post(f"{PAGE}{journal.id}/confirm/", {"typed": settings.POSTGRES_DB})
    found = recovery.journals().read(journal.id)
    assert found is not None
    assert (found.state, found.confirmed_by["name"]) == (CONFIRMED, "operator")
    assert Job.objects.filter(kind="restore-time-start").count() == 1


def test_what_was_prepared_can_be_discarded(operator: Client) -> None:
    journal = waiting()
    operator.post(f"{PAGE}{journal.id}/discard/")
    assert recovery.journals().read(journal.id).state == DROPPED  # type: ignore[union-attr]


def test_before_an_undo_the_page_says_what_is_carried_over_and_afterwards_what_was(operator: Client) -> None:
    journal = waiting()
    journal.state, journal.finished_at = FINISHED, journal.created_at
    recovery.journals().write(journal)
    page = operator.get(f"{PAGE}{journal.id}/").content.decode()
    assert "Accounts with their passwords and deactivations, audit events" in page
    assert page.index("everybody logs in anew") < page.index("Undo the restore</button>")
    assert page.count('name="typed"') == 1
    journal.undone_at, journal.facts["undo"] = (
        journal.created_at,
        ["All sessions end (3 of them live until now)."],
    )
    recovery.journals().write(journal)
    page = operator.get(f"{PAGE}{journal.id}/").content.decode()
    assert "All sessions end (3 of them live until now)." in page
    assert 'name="typed"' not in page


def test_without_the_right_nothing_is_seen_and_nothing_done(here: Stack, client: Client) -> None:
    journal = waiting()
    user = User.objects.create_user("viewer", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename="view_backup"))
    client.force_login(user)
    assert client.get(PAGE).status_code == 403
    assert client.get(f"{PAGE}{journal.id}/").status_code == 403
    for action in ("confirm", "discard", "undo"):
        assert client.post(f"{PAGE}{journal.id}/{action}/", {"typed": "arc"}).status_code == 403
    assert recovery.journals().read(journal.id).state == WAITING  # type: ignore[union-attr]


def test_nothing_is_changed_by_looking(operator: Client) -> None:
    journal = waiting()
    for action in ("confirm", "discard", "undo"):
        assert operator.get(f"{PAGE}{journal.id}/{action}/").status_code == 405


def test_without_a_password_the_page_says_what_to_set(operator: Client, monkeypatch: Any) -> None:
    monkeypatch.setattr(settings, "ARC_REPLICATION_PASSWORD", "")
    assert "Not set up" not in operator.get(PAGE).content.decode()  # another process takes them
    Backup.objects.all().delete()
    page = operator.get(PAGE).content.decode()
    assert "Not set up" in page
    assert "put it into ARC_REPLICATION_PASSWORD" in page


def test_on_other_servers_the_page_gives_the_commands(
    operator: Client, story: Story, monkeypatch: Any
) -> None:
    monkeypatch.setattr(
        settings, "ARC_WAL_ARCHIVE_DIR", str(settings.ARC_LAYOUT.real_servers_dir / "wal-archive")
    )
    monkeypatch.setattr(settings, "ARC_EMBEDDED", False)
    # To the microsecond: the full second before may lie before the base backup.
    moment = f"{story.good.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%f}"
    page = operator.post(PAGE, {"moment": moment}).content.decode()
    assert "Prepare it" not in page
    assert f"recovery_target_time = &#x27;{story.good.astimezone(UTC):%Y-%m-%d %H:%M:%S}" in page
    assert recovery.journals().all() == []


def test_a_gap_splits_the_drawing() -> None:
    start = datetime(2026, 11, 1, tzinfo=UTC)

    def stretch(first: float, last: float) -> Stretch:
        at = start + timedelta(hours=first)
        point = Point("i", "f", "base", at, True, 1, 1, 1, 1, 2**24)
        return Stretch(point, at, start + timedelta(hours=last), "0" * 24)

    found = drawing.draw(Picture(1, [stretch(0, 4), stretch(6, 8), stretch(2, 3)]))
    assert found is not None
    assert [(bar.x, bar.width) for bar in found.bars] == [(12.0, 468.0), (714.0, 234.0)]
    assert [mark.x for mark in found.marks] == [12.0, 714.0, 246.0]
    assert found.ticks[-1] == (948.0, start + timedelta(hours=8))
    brief = drawing.draw(Picture(1, [stretch(0, 0.001), stretch(5, 8)]))
    assert brief is not None
    assert [bar.width for bar in brief.bars] == [3.0, 351.0], "a span of seconds is still to be seen"
    assert drawing.draw(Picture(1)) is None
