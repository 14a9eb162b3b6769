"""What is said of the backups elsewhere: alarms, the card and the verdict of the overview, metrics."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.test import RequestFactory
from django.utils import timezone

from arcweb.alarms import Unknown, find_alarm
from arcweb.backups import alarms, cards, telling
from arcweb.backups.models import Backup, Schedule
from arcweb.backups.restore.journal import EXCHANGING, Folder, Journal
from arcweb.backups.streams import RESERVE
from tests.backups.copies import copy
from tests.people import client_of

pytestmark = pytest.mark.django_db
DAY = timedelta(days=1)


@pytest.fixture(autouse=True)
def young(settings: Any, tmp_path: Path) -> None:
    """An installation of this morning, with a folder of its own."""
    settings.ARC_BACKUP_DIR = tmp_path / "not there yet"
    Schedule.objects.all().delete()
    Schedule.objects.create(name="night", source="postgres", format="custom", cron="15 2 * * *")
    Schedule.objects.update(created_at=timezone.now() - timedelta(hours=2))


def fires(name: str) -> bool:
    alarm = find_alarm(name)
    assert alarm is not None
    reading = alarm.look()
    assert reading is not None
    assert reading.sentence.endswith(".")
    return alarm.beyond(reading.value, alarm.threshold)


def concerns() -> list[str]:
    return [one.sentence for one in cards.look(telling.figures()).concerns]


def test_a_young_installation_waits_for_its_first_night() -> None:
    assert not fires("backups.age")
    assert concerns() == []
    Schedule.objects.update(created_at=timezone.now() - 2 * DAY)
    assert fires("backups.age")
    assert concerns() == ["PostgreSQL has no proven restore point."]


def test_age_counts_from_the_last_proven_copy_alone() -> None:
    copy(age=timedelta(hours=30))
    assert fires("backups.age")
    copy("hashed", timedelta(hours=1))
    assert fires("backups.age")
    copy(age=timedelta(hours=2))
    assert not fires("backups.age")
    assert concerns() == []
    assert cards.look(telling.figures()).well.startswith("the last proven restore point is 2 h")


def test_a_part_or_a_copy_of_tomorrow_is_no_restore_point() -> None:
    copy(age=timedelta(hours=30))
    copy(age=timedelta(hours=1), scope={"agent": "1a2b3c4d-0000-4000-8000-000000000000"}, bytes=1)
    found = telling.fits()
    assert found is not None
    assert found[0] < found[1] / 2  # in copies of the database, not of the agent
    copy(age=-DAY)
    assert fires("backups.age")
    assert telling.figures()["proven:postgres"] == 1


def test_without_schedule_and_copy_nobody_knows() -> None:
    Schedule.objects.all().delete()
    with pytest.raises(Unknown, match="no schedule and no copy"):
        alarms.postgres_age()


def test_failures_fire_until_a_copy_is_whole_again() -> None:
    copy("failed", timedelta(hours=2), trouble="No such host.")
    assert fires("backups.failing")
    assert "The last backup of PostgreSQL failed." in concerns()
    copy("hashed", timedelta(hours=1))
    assert not fires("backups.failing")


def test_a_dump_that_fails_every_night_is_told_though_base_backups_are_taken() -> None:
    copy("failed", timedelta(hours=20), trouble="No such host.")
    copy("hashed", timedelta(hours=19), format="base")
    assert fires("backups.failing")
    assert "The last run failed: No such host." in alarms.failing().sentence
    copy("hashed", timedelta(hours=18), format="plain")  # it stands in for the dump
    assert not fires("backups.failing")
    copy("failed", timedelta(hours=17), format="incremental")
    assert fires("backups.failing")
    copy("hashed", timedelta(hours=16), format="base")
    assert not fires("backups.failing")


def test_what_is_not_tried_any_more_is_held_against_nobody() -> None:
    copy("failed", timedelta(days=9), format="plain")
    assert fires("backups.failing")
    copy("hashed", timedelta(days=7), format="base")
    assert not fires("backups.failing")
    copy("failed", timedelta(days=6), format="plain")
    assert fires("backups.failing")


def test_copies_of_others_that_are_nowhere_else_fire_nothing() -> None:
    copy(remote_trouble="It was away.", owner="f" * 32)
    assert not fires("backups.second_place")
    copy(remote_trouble="It was away.")
    assert fires("backups.second_place")


def test_what_is_half_done_is_shown_to_who_may_see_the_backups(settings: Any, tmp_path: Path) -> None:
    settings.ARC_BACKUP_DIR = tmp_path
    journal = Journal.begin("restore", live="arc", actor={})
    journal.state = EXCHANGING
    Folder(tmp_path).write(journal)
    (concern,) = cards.look(None).concerns
    assert concern.sentence.startswith("Half done, and not settled: the restore")
    assert client_of("viewer").get(concern.url).status_code == 200


def test_a_folder_that_cannot_be_looked_into_takes_no_verdict_away(settings: Any, tmp_path: Path) -> None:
    copy(age=timedelta(hours=60))
    settings.ARC_BACKUP_DIR = tmp_path / ("long" * 100)  # refused to root, too
    first, second = concerns()
    assert first.startswith(f"Whether a restore was left half done is not known. {tmp_path}")
    assert first.endswith("cannot be read: File name too long.")
    assert second == "PostgreSQL's last proven restore point is 2 d 12 h old."


def test_bad_copies_fire() -> None:
    assert not fires("backups.bad")
    copy("bad")
    assert fires("backups.bad")
    assert concerns() == ["1 copy is bad and no longer counts."]


@pytest.mark.parametrize(("newest", "expected"), [(20, False), (30, False), (41, True), (9, True)])
def test_a_strange_size_is_told(newest: int, expected: bool) -> None:
    for age in (2, 3, 4, 5):
        copy(age=age * DAY, raw_bytes=20_000_000)
    copy(age=DAY, raw_bytes=newest * 1_000_000)
    copy("bad", timedelta(hours=2), raw_bytes=1)
    copy(age=timedelta(hours=1), raw_bytes=1, scope={"schema": "agents"}, state="failed", bytes=None)
    assert fires("backups.size") is expected


def test_a_dump_that_shrank_is_told_until_the_next_whatever_is_taken_besides() -> None:
    for age in (2, 3, 4, 5):
        copy(age=age * DAY, raw_bytes=20_000_000)
        copy(age=age * DAY, raw_bytes=90_000_000, format="base")
        copy(age=age * DAY, raw_bytes=age * 1_000, format="incremental")
    copy(age=DAY, raw_bytes=1_000_000)
    copy(age=timedelta(hours=23), raw_bytes=91_000_000, format="base")
    copy(age=timedelta(hours=22), raw_bytes=30_000_000, format="incremental")
    reading = alarms.strange_size()
    assert reading is not None
    assert "PostgreSQL (custom dump) holds 977 kB, 20 times smaller than usual" in reading.sentence
    copy(age=timedelta(hours=1), raw_bytes=20_000_000)
    assert not fires("backups.size")


def test_a_strange_copy_of_a_kind_that_nobody_takes_any_more_is_told_for_some_days() -> None:
    for age in (12, 11, 10):
        copy(age=age * DAY, raw_bytes=20_000_000, format="plain")
    copy(age=9 * DAY, raw_bytes=1_000_000, format="plain")
    assert alarms.strange_size() is None
    Backup.objects.filter(raw_bytes=1_000_000).update(taken_at=timezone.now() - 7 * DAY)
    assert fires("backups.size")


def test_a_size_is_compared_with_its_like_only() -> None:
    for age in (2, 3, 4):
        copy(age=age * DAY, raw_bytes=20_000_000)
    copy(age=DAY, raw_bytes=100, scope={"schema": "agents"})
    assert alarms.strange_size() is None


def test_a_size_is_compared_with_three_of_its_kind_at_least() -> None:
    for age in (3, 4):
        copy(age=age * DAY, raw_bytes=20_000_000)
    copy(age=2 * DAY, raw_bytes=20_000_000, format="plain")
    copy(age=DAY, raw_bytes=100)
    assert alarms.strange_size() is None
    copy(age=5 * DAY, raw_bytes=20_000_000)
    assert fires("backups.size")


def test_room_is_told_in_copies() -> None:
    with pytest.raises(Unknown, match="not known"):
        alarms.room()
    copy(bytes=1000)
    assert not fires("backups.room")
    Backup.objects.update(bytes=2**60)
    assert fires("backups.room")


def test_what_stays_free_for_the_servers_is_no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    copy(bytes=1000)
    monkeypatch.setattr(telling, "free_bytes", lambda: RESERVE + 10_000)
    assert alarms.room().value == 10
    monkeypatch.setattr(telling, "free_bytes", lambda: RESERVE - 10_000)
    assert alarms.room().value == 0


def test_room_is_told_of_the_kind_that_takes_most() -> None:
    copy(age=2 * DAY, format="base", bytes=2**60)
    copy(age=DAY, bytes=5_000)
    copy(age=timedelta(hours=1), format="incremental", bytes=10)
    assert fires("backups.room")
    assert "room for 0 more like the newest base backup (1,048,576 TB)" in alarms.room().sentence
    copy(age=timedelta(hours=2), format="base", bytes=4_000)
    assert not fires("backups.room")
    assert "more like the newest custom dump (4.9 kB)" in alarms.room().sentence


def test_what_is_missing_in_the_second_place_fires() -> None:
    one = copy()
    assert not fires("backups.second_place")
    Backup.objects.filter(pk=one.pk).update(remote_trouble="The store did not answer.")
    assert fires("backups.second_place")


def test_the_card_says_how_old_the_restore_point_is() -> None:
    request = RequestFactory().get("/")
    assert cards.backups_card(request).word == "No copy"
    copy(age=timedelta(hours=3))
    card = cards.backups_card(request)
    assert (card.state, card.big) == ("good", "3 h")


def test_figures_tell_age_counts_and_room() -> None:
    one = copy(age=timedelta(hours=1))
    copy("bad", 2 * DAY)
    found = telling.figures()
    assert found["proven_at:postgres"] == pytest.approx(one.taken_at.timestamp())  # type: ignore[union-attr]
    assert (found["copies:postgres"], found["proven:postgres"], found["bad:postgres"]) == (1, 1, 1)
    assert found["copies:redis-state"] == 0
    assert "proven_at:redis-state" not in found
    assert found["free"] > 0


def test_charts_show_sizes_and_times() -> None:
    assert telling.drawings() == []
    for age, size in ((3, 2), (2, 4), (1, 3)):
        copy(age=age * DAY, bytes=size * 1024**2, verify_seconds=1.5)
    sizes, taking, proving = telling.drawings()
    assert sizes.summary == "3 MB last, 2 to 4 MB over 3 copies"
    assert taking.summary.startswith("4 s last")
    assert proving.summary.startswith("1.5 s last")
