"""A copy that this installation did not make: what of its rows is not believed once it is live."""

from __future__ import annotations

import uuid
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.db import connection
from django.utils import timezone
from django_celery_beat.models import CrontabSchedule, PeriodicTask

from arcweb.backups import catalogue, taking
from arcweb.backups.models import Backup, Retention, Schedule
from arcweb.backups.proving import proof
from arcweb.backups.restore import asking, databases, doing, safety
from arcweb.backups.restore.carry import settle_alone
from arcweb.backups.restore.journal import FINISHED, Journal
from arcweb.backups.restore.source import of_backup
from arcweb.database.partitions.models import PartitionArchive, PartitionPolicy
from arcweb.events.models import AlertSetting, Silence
from arcweb.jobs.models import Job
from tests.backups.made import make_files
from tests.backups.restore.conftest import WHO, World

pytestmark = pytest.mark.django_db(transaction=True)
EVIL = b"\\! touch pwned\n"


@pytest.fixture(autouse=True)
def no_safety_copy(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is another test's concern, and takes a while."""
    monkeypatch.setattr(safety, "take", world.backup)


def taken_of(world: World) -> None:
    """From now on the world's copy is one of live as it is now."""
    world.copies = {"custom": str(taking.take(taking.Options()).pk)}


def restore(world: World) -> Journal:
    """As a file that bears no seal of ours."""
    source = replace(of_backup(world.backup()), trusted=False)
    journal = asking.restore(source, WHO)
    doing.prepare(journal, source)
    asking.confirmed(journal, world.live, WHO)
    doing.finish(journal)
    assert journal.state == FINISHED
    return journal


def believed(world: World, elsewhere: Path) -> Path:
    """A row in live that says of a file with SQL text, which stands elsewhere, that it was taken here."""
    manifest, sha256 = make_files(format_="plain", content=EVIL, folder=elsewhere)
    Backup.objects.create(
        pk=uuid.UUID(manifest.id),
        source="postgres",
        format="plain",
        state="deleted",
        trigger="manual",
        deleted_at=timezone.now(),
        **Backup.objects.fields(manifest, sha256),
    )
    return elsewhere / manifest.file.name


def test_a_row_of_a_strangers_catalogue_makes_no_file_our_own(world: World, tmp_path: Path) -> None:
    file = believed(world, tmp_path / "elsewhere")
    taken_of(world)
    Backup.objects.filter(file=file.name).delete()
    restore(world)
    assert not Backup.objects.filter(file=file.name).exists()

    for one in file.parent.iterdir():
        one.rename(world.backups / one.name)
    catalogue.scan()
    backup = Backup.objects.get(file=file.name)
    assert backup.trigger == Backup.Trigger.FOUND
    outcome = proof.prove(backup.pk)
    assert outcome.verdict == "not tried"
    assert "only copies of this installation are restored from it" in outcome.trouble


def fill(name: str, cron: str) -> None:
    """What decides what is done, told and allowed."""
    group = Group.objects.create(name=f"group of {name}")
    group.permissions.add(Permission.objects.get(codename="restore_backup"))
    user = User.objects.create_superuser(name, password="of my own choice")
    user.groups.add(group)
    Job.objects.create(kind="partition-drop", target=name, state="failed", finished_at=timezone.now())
    AlertSetting.objects.create(alarm=f"alarm of {name}", off=True)
    Silence.objects.create(alarm=f"alarm of {name}", until="2999-01-01T00:00:00Z")
    task = PeriodicTask.objects.create(
        name=name, task="any", crontab=CrontabSchedule.objects.create(minute=str(len(name)))
    )
    Schedule.objects.create(name=name, source="postgres", format="custom", cron=cron, beat_task=task)
    spoken: dict[str, Any] = {"first": timezone.now(), "until": timezone.now(), "sha256": "0" * 64}
    PartitionArchive.objects.create(
        file=name, partition="events_2020_01", details=False, rows=1, bytes=1, **spoken
    )


def clear(name: str) -> None:
    Group.objects.filter(name__endswith=name).delete()
    User.objects.filter(username=name).delete()
    for model in (Job, AlertSetting, Silence, Schedule, PeriodicTask, CrontabSchedule, PartitionArchive):
        model.objects.all().delete()


def test_what_a_stranger_decided_counts_for_nothing(world: World) -> None:
    fill("eve", "* * * * *")
    Retention.objects.create(last=1, daily=0, weekly=0)
    PartitionPolicy.objects.create(keep_months=1, archive=False)
    taken_of(world)
    clear("eve")
    Retention.objects.all().delete()
    PartitionPolicy.objects.all().delete()
    fill("ours", "0 3 * * *")
    Job.objects.create(kind="ingest", target="ours")
    # What differs is told by number and newest second, and all of this is done within one.
    Schedule.objects.update(created_at=timezone.now() - timedelta(days=1))

    journal = restore(world)

    assert not Retention.objects.exists(), "the rules of the file would delete what is wanted"
    assert not PartitionPolicy.objects.exists()
    assert list(PartitionArchive.objects.values_list("file", flat=True)) == ["ours"]
    assert set(Job.objects.values_list("target", "state")) == {("ours", "failed"), ("ours", "interrupted")}
    assert list(AlertSetting.objects.values_list("alarm", flat=True)) == ["alarm of ours"]
    assert list(Silence.objects.values_list("alarm", flat=True)) == ["alarm of ours"]
    assert list(PeriodicTask.objects.values_list("name", flat=True)) == ["ours"]
    schedule = Schedule.objects.get()
    assert (schedule.name, schedule.cron, schedule.beat_task.name) == ("ours", "0 3 * * *", "ours")
    assert Schedule.objects.create(name="next", source="postgres", format="custom", cron="0 3 * * *").pk
    eve = User.objects.get(username="eve")
    assert (eve.is_active, eve.is_staff, eve.is_superuser, eve.groups.count()) == (False, False, False, 0)
    assert not Group.objects.get(name="group of eve").permissions.exists()
    assert Group.objects.get(name="group of ours").permissions.exists()
    told = {one["table"]: one["carried"] for one in journal.differences}
    assert told["public.backups_schedule"]
    assert "schedules, rules, alarms and the catalogue stay live's" in journal.step("differ").sentence
    assert "not this installation's own" in journal.step("carry").sentence


def test_without_a_live_to_ask_nothing_of_it_runs_by_itself(world: World, tmp_path: Path) -> None:
    fill("eve", "* * * * *")
    Retention.objects.create(last=1, daily=0, weekly=0)
    believed(world, tmp_path / "elsewhere")
    with databases.connected(world.live, autocommit=False) as new:
        said = " ".join(settle_alone(new, "", trusted=False))
        new.commit()
    assert "of its accounts may log in with the passwords of the copy, 1 of them as superusers" in said
    for model in (Backup, Retention, Job, AlertSetting, Silence, PartitionArchive):
        assert not model.objects.exists(), model
    assert not Schedule.objects.filter(enabled=True).exists()


def test_an_undo_brings_nobody_of_a_strangers_copy_along(world: World) -> None:
    """Where live could not be read, who may enter what took its place is the file's word."""
    fill("eve", "* * * * *")
    taken_of(world)
    clear("eve")
    anna = User.objects.get(username="anna")
    anna.set_password("changed since the copy")
    anna.save()
    source = replace(of_backup(world.backup()), trusted=False)
    journal = asking.restore(source, WHO)
    doing.prepare(journal, source, live_is_broken=True)
    assert "will enter with the passwords of the copy" in journal.step("differ").sentence
    asking.confirmed(journal, world.live, WHO)
    doing.finish(journal, live_is_broken=True)
    assert User.objects.get(username="eve").is_superuser
    assert User.objects.get(username="anna").check_password("the first of anna")

    undone = world.undo(journal)
    assert not User.objects.filter(username="eve").exists()
    assert User.objects.get(username="anna").check_password("changed since the copy")
    assert not Schedule.objects.exists()
    assert "as they were before that restore" in undone.step("carry").sentence


def test_a_table_called_as_one_of_postgresql_stands_in_for_none(world: World) -> None:
    """What is carried over is asked of the catalog of the copy: its own tables would lie about accounts."""
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE public.pg_attribute (attrelid oid, attname text)")
    with databases.connected(world.live) as one:
        row = one.execute("SELECT 'pg_attribute'::regclass = 'pg_catalog.pg_attribute'::regclass").fetchone()
        assert row == (True,)
        one.execute("CREATE TABLE made (n integer)")
        assert one.execute("SELECT to_regclass('public.made') IS NOT NULL").fetchone() == (True,)
