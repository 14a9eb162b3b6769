"""Schedules start each slot once: two beats, a downtime, a month with failures."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from importlib import import_module

import pytest
from django.apps import apps
from django.db import connection
from django.utils import timezone
from django_celery_beat.models import CrontabSchedule, PeriodicTask

from arcweb.backups.models import Backup, Schedule
from arcweb.backups.schedules import keeping, slots
from arcweb.backups.schedules.forms import ScheduleForm
from arcweb.events.models import Event
from arcweb.jobs.models import Job
from tests.people import client_of

pytestmark = pytest.mark.django_db
ADDRESS = "/backups/schedules/"


def nightly(**changes: object) -> Schedule:
    Schedule.objects.all().delete()
    return keeping.save(
        Schedule(
            **{"name": "night", "source": "postgres", "format": "custom", "cron": "15 2 * * *", **changes}
        )
    )


def test_every_installation_begins_with_a_nightly_copy_and_a_drill() -> None:
    Schedule.objects.all().delete()
    PeriodicTask.objects.all().delete()
    import_module("arcweb.backups.migrations.0002_schedules").make(apps, None)
    found = {one.name: one for one in Schedule.objects.select_related("beat_task__crontab")}
    assert {(one.source, one.format, one.drill) for one in found.values()} == {
        ("postgres", "custom", False),
        ("redis-state", "rdb", False),
        ("postgres", "custom", True),
        ("postgres", "base", False),
        ("postgres", "incremental", False),
    }
    for one in found.values():
        assert one.verify
        assert one.last_slot is not None, "the past is not made up for"
        crontab = one.beat_task.crontab
        assert str(crontab.timezone) == "UTC"
        said = (
            crontab.minute,
            crontab.hour,
            crontab.day_of_month,
            crontab.month_of_year,
            crontab.day_of_week,
        )
        assert " ".join(said) == one.cron
    assert not keeping.start_due(), "nothing runs at once"


def test_a_slot_starts_once_and_its_job_says_what_to_take() -> None:
    schedule = nightly(scope={"schema": "agents"})
    tomorrow = next(slots.parse(schedule.cron).after(timezone.now()))
    assert keeping.start_due(tomorrow - timedelta(seconds=1)) == []
    (job,) = keeping.start_due(tomorrow)
    assert job.kind == "backup"
    assert job.params["schedule_id"] == schedule.pk
    assert job.params["scope"] == {"schema": "agents"}
    assert (job.params["trigger"], job.params["verify"]) == ("schedule", True)
    assert keeping.start_due(tomorrow + timedelta(hours=3)) == []


def test_a_slot_that_another_beat_has_started_is_over_also_once_its_job_is() -> None:
    schedule = nightly()
    tomorrow = next(slots.parse(schedule.cron).after(timezone.now()))
    assert len(keeping._start(schedule, tomorrow)) == 1
    Job.objects.update(state="succeeded", finished_at=timezone.now())
    assert keeping._start(schedule, tomorrow) == []  # it was read before the other's start
    assert Job.objects.count() == 1


def test_a_schedule_that_is_switched_off_meanwhile_starts_nothing() -> None:
    schedule = nightly()
    off = Schedule.objects.get(pk=schedule.pk)
    off.enabled = False
    keeping.save(off)
    assert keeping._start(schedule, timezone.now() + timedelta(days=1)) == []
    assert not PeriodicTask.objects.get(pk=schedule.beat_task_id).enabled
    assert not Job.objects.exists()


def test_a_changed_time_does_not_run_for_the_past() -> None:
    schedule = nightly()
    Schedule.objects.update(last_slot=timezone.now() - timedelta(days=9))
    schedule.cron = "30 2 * * *"
    keeping.save(schedule)
    assert keeping.start_due() == []


def test_a_time_that_cannot_be_read_keeps_no_other_schedule_from_running() -> None:
    bad = nightly(name="bad")
    good = keeping.save(Schedule(name="good", source="postgres", format="custom", cron="15 2 * * *"))
    Schedule.objects.filter(pk=bad.pk).update(cron="61 2 * * *")
    (job,) = keeping.start_due(timezone.now() + timedelta(days=1))
    assert job.params["schedule_id"] == good.pk


def test_three_missed_nights_are_one_run() -> None:
    schedule = nightly()
    assert len(keeping.start_due(timezone.now() + timedelta(days=3))) == 1
    schedule.refresh_from_db()
    assert keeping.start_due(timezone.now() + timedelta(days=3)) == []


def test_a_schedule_that_is_switched_on_again_does_not_run_for_the_past() -> None:
    schedule = nightly(enabled=False)
    assert keeping.start_due(timezone.now() + timedelta(days=2)) == []
    Schedule.objects.update(last_slot=timezone.now() - timedelta(days=9))
    schedule.refresh_from_db()
    schedule.enabled = True
    keeping.save(schedule)
    assert keeping.start_due() == []
    assert PeriodicTask.objects.get(pk=schedule.beat_task_id).enabled


def test_a_drill_proves_the_oldest_copy_that_is_kept() -> None:
    nightly(drill=True)
    assert keeping.start_due(timezone.now() + timedelta(days=2)) == []
    now = timezone.now()
    for source, age, state, owner in (
        ("postgres", 9, "verified", ""),
        ("postgres", 30, "bad", ""),
        ("postgres", 40, "verified", "elsewhere"),
        ("postgres", 2, "verified", ""),
        ("redis-state", 3, "verified", ""),
        ("redis-state", 4, "verified", ""),
        ("redis-cache", 5, "hashed", ""),
    ):
        Backup.objects.create(
            source=source,
            format="custom" if source == "postgres" else "rdb",
            state=state,
            owner=owner,
            file=f"{source}-{age}",
            bytes=1,
            manifest={},
            taken_at=now - timedelta(days=age),
            verified_at=now,
        )
    jobs = keeping.start_due(now + timedelta(days=3))
    assert {job.kind for job in jobs} == {"backup-verify"}
    proven = Backup.objects.filter(pk__in=[job.params["backup"] for job in jobs])
    assert {one.file for one in proven} == {"postgres-9", "redis-state-4"}
    assert keeping.start_due(now + timedelta(days=3)) == [], "each slot once"


def test_a_month_of_nights_with_failures_and_downtimes_runs_each_night_once() -> None:
    schedule = nightly()
    moment = next(slots.parse(schedule.cron).after(timezone.now())) - timedelta(minutes=1)
    started, down = 0, {4, 5, 6, 20}  # nights on which nothing was up; three of them in a row
    for night in range(30):
        day = moment + timedelta(days=night)
        if night in down:
            continue
        for minutes in (0, 1, 2, 600):  # the beat looks again and again
            for job in keeping.start_due(day + timedelta(minutes=minutes)):
                started += 1
                failed = night % 3 == 0
                Job.objects.filter(pk=job.pk).update(
                    state="failed" if failed else "succeeded", finished_at=timezone.now()
                )
    downtimes = 2  # each is made up for once, on the morning after
    assert started == 30 - len(down) + downtimes


@pytest.fixture
def own_rows() -> Iterator[None]:
    """What other connections see; put back afterwards."""
    before = list(Schedule.objects.all())
    yield
    Job.objects.filter(kind="backup").delete()
    Schedule.objects.all().delete()
    Schedule.objects.bulk_create(before)


@pytest.mark.django_db(transaction=True)
def test_two_beats_at_once_start_a_slot_once(own_rows: None) -> None:
    nightly()
    moment, started = timezone.now() + timedelta(days=1), []
    together = threading.Barrier(2)

    def beat() -> None:
        together.wait()
        started.extend(keeping.start_due(moment))
        connection.close()

    beats = [threading.Thread(target=beat) for _ in range(2)]
    for one in beats:
        one.start()
    for one in beats:
        one.join()
    assert len(started) == 1


def test_the_page_shows_the_next_three_runs_in_both_zones(settings: object) -> None:
    settings.ARC_LOCAL_ZONE = "Europe/Berlin"  # type: ignore[attr-defined]
    schedule = nightly()
    page = client_of("viewer").get(ADDRESS).content.decode()
    for moment in slots.upcoming(slots.parse(schedule.cron), datetime.now(UTC)):
        assert f"{moment:%Y-%m-%d %H:%M}" in page
    assert "CET" in page or "CEST" in page
    assert "No schedule that is on takes copies of Redis state." in page


def test_a_schedule_is_previewed_saved_changed_and_deleted_by_its_name() -> None:
    client = client_of("administrator")
    wanted = {"name": "Weekly", "what": "schema", "cron": "0  4 * * 0", "enabled": "on"}
    shown = client.post(f"{ADDRESS}new/", wanted | {"preview": "yes"}).content.decode()
    assert shown.count("Sunday, ") == 3
    assert not Schedule.objects.filter(name="Weekly").exists()
    refused = client.post(f"{ADDRESS}new/", wanted | {"cron": "0 4 * *"}).content.decode()
    assert "4 fields instead of five" in refused
    assert client.post(f"{ADDRESS}new/", wanted).status_code == 302
    made = Schedule.objects.get(name="Weekly")
    assert (made.cron, made.scope, made.verify, made.enabled) == (
        "0 4 * * 0",
        {"schema": "agents"},
        False,
        True,
    )
    assert made.beat_task.crontab.day_of_week == "0"
    told = Event.objects.get(kind="schedule.changed", object_id=str(made.pk))
    assert (told.data, told.object_type) == ({"cron": "0 4 * * 0", "enabled": "on"}, "backups.schedule")

    # Somebody else saves first: said, and only a second save replaces it.
    stale = wanted | {"cron": "0 5 * * 0", "seen": made.changed_at.isoformat()}
    made.enabled = False
    keeping.save(made)
    answer = client.post(f"{ADDRESS}{made.pk}/", stale)
    assert "Somebody changed this schedule meanwhile" in answer.content.decode()
    made.refresh_from_db()
    assert made.cron == "0 4 * * 0"
    assert (
        client.post(f"{ADDRESS}{made.pk}/", stale | {"seen": made.changed_at.isoformat()}).status_code == 302
    )
    made.refresh_from_db()
    assert (made.cron, made.enabled) == ("0 5 * * 0", True)

    task = made.beat_task_id
    client.post(f"{ADDRESS}{made.pk}/delete/", {"typed": "weekly"})
    assert Schedule.objects.filter(pk=made.pk).exists()
    client.post(f"{ADDRESS}{made.pk}/delete/", {"typed": "Weekly"})
    assert not Schedule.objects.filter(pk=made.pk).exists()
    assert not PeriodicTask.objects.filter(pk=task).exists()
    assert Event.objects.filter(kind="schedule.deleted", object_id=told.object_id).count() == 1


def test_a_drill_is_saved_as_one_and_shown_as_one() -> None:
    client = client_of("administrator")
    wanted = {"name": "Monthly", "what": "drill", "cron": "0 5 1 * *", "enabled": "on"}
    assert client.post(f"{ADDRESS}new/", wanted).status_code == 302
    made = Schedule.objects.get(name="Monthly")
    assert made.drill
    shown = client.get(f"{ADDRESS}{made.pk}/").content.decode()
    assert '<option value="drill" selected>' in shown
    taken = client.post(f"{ADDRESS}new/", wanted).content.decode()
    assert "Another schedule has this name." in taken
    assert Schedule.objects.filter(name="Monthly").count() == 1


@pytest.mark.parametrize("role", ["viewer", "operator"])
def test_only_administrators_change_schedules(role: str) -> None:
    schedule = nightly()
    client = client_of(role)
    assert client.get(ADDRESS).status_code == 200
    for address in (f"{ADDRESS}new/", f"{ADDRESS}{schedule.pk}/", f"{ADDRESS}{schedule.pk}/delete/"):
        assert client.post(address, {"typed": "night"}).status_code == 403
    assert Schedule.objects.filter(pk=schedule.pk).exists()


def test_a_slot_that_began_while_the_schedule_was_being_changed_does_not_begin_again() -> None:
    read = nightly()
    tomorrow = timezone.now() + timedelta(days=1)
    assert len(keeping.start_due(tomorrow)) == 1
    read.name = "every night"
    keeping.save(read)
    assert not keeping.start_due(tomorrow)


def test_a_clock_that_was_set_back_keeps_no_night_from_running() -> None:
    schedule = nightly()
    Schedule.objects.update(last_slot=timezone.now() + timedelta(days=400))
    assert keeping.start_due() == []
    tomorrow = next(slots.parse(schedule.cron).after(timezone.now()))
    assert len(keeping.start_due(tomorrow)) == 1
    assert keeping.start_due(tomorrow - timedelta(minutes=30)) == [], (
        "another machine's clock is a bit behind"
    )
    assert keeping.start_due(tomorrow) == []


def test_a_time_that_stands_twice_in_the_tables_of_the_scheduler_is_no_error() -> None:
    for _ in range(2):
        CrontabSchedule.objects.create(minute="15", hour="2", timezone="UTC")
    assert nightly().beat_task.crontab.minute == "15"


def test_a_name_that_somebody_takes_meanwhile_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    nightly(name="Weekly")
    monkeypatch.setattr(ScheduleForm, "clean_name", lambda form: form.cleaned_data["name"])
    wanted = {"name": "Weekly", "what": "schema", "cron": "0 4 * * 0", "enabled": "on"}
    answer = client_of("administrator").post(f"{ADDRESS}new/", wanted)
    assert (answer.status_code, "Another schedule has this name." in answer.content.decode()) == (200, True)
    assert Schedule.objects.count() == 1


def test_a_schedule_that_somebody_deletes_meanwhile_does_not_come_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    schedule = nightly()
    chosen = ScheduleForm.chosen

    def deleted(form: ScheduleForm) -> Schedule:
        keeping.delete(Schedule.objects.get(pk=schedule.pk))
        return chosen(form)

    monkeypatch.setattr(ScheduleForm, "chosen", deleted)
    wanted = {"name": "night", "what": "schema", "cron": "0 4 * * 0", "seen": schedule.changed_at.isoformat()}
    answer = client_of("administrator").post(f"{ADDRESS}{schedule.pk}/", wanted, follow=True)
    assert "night was not saved: somebody deleted it meanwhile." in answer.content.decode()
    assert not Schedule.objects.exists()
