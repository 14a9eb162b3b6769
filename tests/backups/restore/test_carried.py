"""What live knows better than an older copy, after that copy took its place."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.contrib.sessions.models import Session
from django.db import connection
from django.db.migrations.recorder import MigrationRecorder
from django.test import Client
from django.utils import timezone
from django_celery_beat.models import PeriodicTask
from psycopg import sql

from agents.models import Agent
from arcweb.accounts.models import LoginThrottle, UserSession
from arcweb.backups import erasures, taking
from arcweb.backups.models import Backup, DownloadLink, Retention, Schedule
from arcweb.backups.restore.journal import FINISHED
from arcweb.database.partitions.models import PartitionArchive, PartitionPolicy
from arcweb.events import record
from arcweb.events.models import Alert, Event, EventDetail
from arcweb.jobs.models import Job
from memories.models import Document, Memory
from tests.backups.restore.conftest import World, superuser

pytestmark = pytest.mark.django_db(transaction=True)


def test_accounts_events_catalogue_and_alerts_stay_as_they_were_live(world: World) -> None:
    with superuser() as above:  # a setting of live alone makes no stranger of its copy
        above.execute(
            sql.SQL("ALTER DATABASE {} SET timezone TO 'Asia/Tokyo'").format(sql.Identifier(world.live))
        )
    anna, bert, carl = (User.objects.get(username=name) for name in ("anna", "bert", "carl"))
    anna.set_password("changed since the copy")
    anna.save()
    User.objects.filter(pk=bert.pk).update(is_active=False, username="bertrand")
    record("user.deleted", obj=carl)
    carl.delete()
    dora = User.objects.create_user("dora", password="newer than the copy")
    dora.groups.add(Group.objects.get(name="viewer"))
    # The name of one who was renamed goes to somebody else.
    User.objects.create_user("bert", password="another bert altogether")
    browser = Client()
    browser.force_login(dora)
    assert UserSession.objects.filter(ended_at=None).count() == 1
    LoginThrottle.objects.create(account="a" * 64, failures=5)
    record("agent.changed", object_type="agents.agent", object_id="1", label="newer than the copy")
    erased = Event.objects.filter(kind="agent.added").latest("id")
    EventDetail.objects.filter(event_id=erased.id).delete()
    facts = set(Event.objects.values_list("occurred_at", "id", "kind"))
    Retention.objects.create(last=30)
    figures = {"unit": "", "severity": "bad", "fires": "above", "threshold": 1, "value": 2, "worst": 2}
    Alert.objects.create(alarm="x", title="x", room="x", since=timezone.now(), sentence="x", **figures)
    newer = Backup.objects.create(
        source="postgres", format="custom", state="failed", trouble="newer than the copy"
    )

    journal = world.restore()
    assert journal.state == FINISHED

    kept = User.objects.get(pk=anna.pk)
    assert kept.check_password("changed since the copy")
    assert not User.objects.get(pk=bert.pk).is_active
    assert User.objects.get(pk=bert.pk).username == "bertrand"
    assert User.objects.get(username="bert").pk != bert.pk
    assert not User.objects.get(username="carl").is_active, "whom live had deleted comes back without access"
    assert [group.name for group in User.objects.get(username="dora").groups.all()] == ["viewer"]
    assert User.objects.create_user("emil").pk > dora.pk
    assert LoginThrottle.objects.filter(failures=5).exists()

    assert not Session.objects.exists()
    ended = UserSession.objects.get()
    assert (ended.ended_reason, ended.user.username) == ("restored", "dora")

    after = set(Event.objects.values_list("occurred_at", "id", "kind"))
    assert facts <= after
    assert {kind for *_, kind in after - facts} == {"restore.started", "backup.taken", "restore.swapped"}
    assert EventDetail.objects.filter(label="newer than the copy").count() == 1
    assert not EventDetail.objects.filter(event_id=erased.id).exists(), (
        "what was erased of an event stays erased"
    )

    assert Backup.objects.get(pk=newer.pk).trouble == "newer than the copy"
    assert set(Backup.objects.values_list("pk", flat=True)) >= {world.backup().pk, newer.pk}
    assert Retention.objects.get().last == 30
    assert Alert.objects.filter(alarm="x", state="firing").exists()
    assert set(Job.objects.values_list("state", flat=True)) == {"interrupted"}


def write_event(kind: str, at: datetime, number: int | None = None) -> None:
    """As services write them: with a time, and here a number, of their own."""
    chosen = sql.SQL("nextval('events.events_id_seq')") if number is None else sql.Literal(number)
    with connection.cursor() as cursor:
        cursor.execute(
            sql.SQL("INSERT INTO events.events (id, occurred_at, kind) VALUES ({}, %s, %s)").format(chosen),
            [at, kind],
        )


def test_rights_rules_and_events_of_live_win_over_a_copy_that_has_others(world: World) -> None:
    anna, viewer = User.objects.get(username="anna"), Group.objects.get(name="viewer")
    one, two = Permission.objects.order_by("pk")[:2]
    anna.user_permissions.set([one])
    anna.groups.set([viewer])
    viewer.permissions.add(two)
    kept = set(viewer.permissions.exclude(pk=two.pk).values_list("pk", flat=True))
    PartitionPolicy.objects.create(keep_months=1)
    PeriodicTask.objects.update(last_run_at="2020-01-01T00:00:00Z")
    DownloadLink.objects.create(
        token_sha256="a" * 64,
        backup=world.backup(),
        actor_name="anna",
        user_id=anna.pk,
        expires_at="2999-01-01T00:00:00Z",
    )
    with connection.cursor() as cursor:
        cursor.execute("SELECT nextval('events.events_id_seq')")
        (unused,) = cursor.fetchone()
    record("agent.changed", object_type="agents.agent", object_id="1")
    copy = taking.take(taking.Options())
    world.copies = {"custom": str(copy.pk)}

    anna.user_permissions.set([two])
    anna.groups.clear()
    viewer.permissions.remove(two)
    PartitionPolicy.objects.update(keep_months=24)
    spoken = {"first": copy.taken_at, "until": copy.taken_at, "rows": 1, "bytes": 1, "sha256": "0" * 64}
    PartitionArchive.objects.create(file="newer", partition="events_2020_01", details=False, **spoken)
    schedule = Schedule.objects.create(name="newer", source="postgres", format="custom", cron="0 3 * * *")
    half = Backup.objects.create(source="postgres", format="custom", state="running", schedule=schedule)
    assert copy.taken_at is not None
    write_event("committed.late", copy.taken_at - timedelta(hours=1), unused)
    write_event("dated.back", copy.taken_at - timedelta(days=3))
    with connection.cursor() as cursor:
        cursor.execute("SELECT events.make_partition('2031-01-01')")
    write_event("to.come", datetime(2031, 1, 15, tzinfo=UTC))
    newest = Event.objects.order_by("-id")[0].id
    before = timezone.now()

    assert world.restore().state == FINISHED

    anna.refresh_from_db()
    assert (list(anna.user_permissions.all()), list(anna.groups.all())) == ([two], [])
    assert set(viewer.permissions.values_list("pk", flat=True)) == kept
    assert PartitionPolicy.objects.get().keep_months == 24, "the shorter rule of then would delete more"
    assert PartitionArchive.objects.get().file == "newer"
    assert all(
        one is not None and one >= before
        for one in PeriodicTask.objects.values_list("last_run_at", flat=True)
    )
    assert not DownloadLink.objects.exists()
    half.refresh_from_db()
    assert (half.state, half.schedule_id) == ("failed", None)
    kinds = Event.objects.filter(kind__in=["committed.late", "dated.back", "to.come"])
    assert set(kinds.values_list("kind", flat=True)) == {"committed.late", "dated.back", "to.come"}
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM events.events_2031_01")
        assert cursor.fetchone() == (1,)
    assert Event.objects.get(kind="restore.swapped").id > newest, "no number is given twice"


def test_a_live_of_another_descent_ends_what_fired_then_and_shuts_nobody_out(world: World) -> None:
    """As on a new server after the loss of the old one."""
    figures = {"unit": "", "severity": "bad", "fires": "above", "threshold": 1, "value": 2, "worst": 2}
    Alert.objects.create(alarm="x", title="x", room="x", since=timezone.now(), sentence="x", **figures)
    world.copies = {"custom": str(taking.take(taking.Options()).pk)}
    Alert.objects.all().delete()
    Alert.objects.create(alarm="y", title="y", room="y", since=timezone.now(), sentence="y", **figures)
    User.objects.get(username="carl").delete()
    MigrationRecorder.Migration.objects.update(applied=timezone.now())
    world.restore()
    assert User.objects.get(username="carl").is_active
    assert list(Alert.objects.values_list("alarm", "state", "ended_by")) == [("x", "ended", "restore")]


def test_people_who_took_over_each_others_names_keep_them(world: World) -> None:
    anna, bert = (User.objects.get(username=name) for name in ("anna", "bert"))
    for who, name in ((anna, "between"), (bert, "anna"), (anna, "bert")):
        User.objects.filter(pk=who.pk).update(username=name)
    world.restore()
    assert User.objects.get(username="anna").pk == bert.pk
    assert User.objects.get(username="bert").pk == anna.pk
    assert User.objects.get(username="bert").check_password("the first of anna")


def test_who_took_over_the_name_of_somebody_deleted_keeps_it(world: World) -> None:
    anna, carl = (User.objects.get(username=name) for name in ("anna", "carl"))
    carl.delete()
    User.objects.filter(pk=anna.pk).update(username="carl")
    world.restore()
    assert User.objects.get(username="carl").pk == anna.pk
    returned = User.objects.get(username__startswith="carl-deleted-")
    assert not returned.is_active


def test_schedules_go_on_from_now(world: World, filled: Any) -> None:
    Schedule.objects.update(last_slot="2020-01-01T00:00:00Z")
    Schedule.objects.create(
        name="of the copy",
        source="postgres",
        format="custom",
        cron="0 3 * * *",
        last_slot="2020-01-01T00:00:00Z",
    )
    copy = taking.take(taking.Options())
    world.copies = {"custom": str(copy.pk)}
    before = timezone.now()
    world.restore()
    slots = list(Schedule.objects.values_list("last_slot", flat=True))
    assert slots
    assert all(slot is not None and slot >= before for slot in slots)


def test_what_was_erased_since_the_copy_stays_erased_and_what_was_deleted_returns(world: World) -> None:
    first, second, third = Agent.objects.order_by("name")
    erasures.order(world.backups, "agent", {"id": str(first.pk)})
    erasures.order(world.backups, "metadata", {"metadata": {"person": "p2"}})
    Agent.objects.filter(pk__in=[first.pk, second.pk]).delete()

    journal = world.restore()

    assert set(Agent.objects.values_list("pk", flat=True)) == {second.pk, third.pk}
    assert not Memory.objects.filter(metadata__person="p2").exists()
    assert Memory.objects.count() == 2 * 4
    assert Document.objects.count() == 2
    assert "Erased an agent with its memories: 1 row." in journal.step("migrate").sentence
