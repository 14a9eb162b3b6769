"""Schedules as rows, and their starts: each slot once, whoever asks, however often.

django-celery-beat's tables hold the time (a CrontabSchedule in UTC and a PeriodicTask) for its tools. Its own
DatabaseScheduler does not run: the beat would stand still with PostgreSQL, and 2.9 leaves out entries
whose hour is far from now, so that a missed run is never made up for.
"""

from __future__ import annotations

import json
import logging
from dataclasses import asdict
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Q
from django.urls import reverse
from django.utils import timezone
from django_celery_beat.models import CrontabSchedule, PeriodicTask

from arcweb.backups.models import Backup, Format, Schedule, Source
from arcweb.backups.schedules import slots
from arcweb.backups.taking import Options
from arcweb.events import record
from arcweb.events.actors import SYSTEM
from arcweb.events.sentences import describe
from arcweb.jobs import ledger
from arcweb.jobs.models import Job

logger = logging.getLogger(__name__)
#: A slot that far ahead was started by a clock that was wrong; clocks of two machines differ by less.
AHEAD = timedelta(hours=1)
TASK = "arcweb.backups.tasks.start_due"
describe("schedule.changed", "changed the backup schedule {object}: {cron} (UTC), {enabled}")
describe("schedule.deleted", "deleted the backup schedule {object}")


def save(schedule: Schedule) -> Schedule:
    """Keep it, with its time in django-celery-beat's tables. A new or changed time does not run for the past.

    Raises slots.BadCron, Schedule.DoesNotExist when somebody deleted it meanwhile, and IntegrityError when
    another has its name.
    """
    cron = slots.parse(schedule.cron)
    minute, hour, day, month, weekday = cron.text.split()
    with transaction.atomic():
        before = Schedule.objects.select_for_update().filter(pk=schedule.pk).first() if schedule.pk else None
        if schedule.pk and before is None:
            raise Schedule.DoesNotExist
        now = timezone.now()
        if before is None or before.cron != cron.text or (schedule.enabled and not before.enabled):
            schedule.last_slot = now
        else:  # a slot may have been started since `schedule` was read: it is not to run twice
            schedule.last_slot = before.last_slot
        schedule.cron, schedule.changed_at = cron.text, now
        time = {
            "minute": minute,
            "hour": hour,
            "day_of_month": day,
            "month_of_year": month,
            "day_of_week": weekday,
            "timezone": "UTC",
        }
        # Its table holds the same time twice where two people saved it at once.
        crontab = CrontabSchedule.objects.filter(**time).first() or CrontabSchedule.objects.create(**time)
        schedule.save()
        task = schedule.beat_task or PeriodicTask(task=TASK)
        task.name, task.enabled, task.crontab = (
            f"backup {schedule.pk}: {schedule.name}",
            schedule.enabled,
            crontab,
        )
        task.args, task.description = json.dumps([schedule.pk]), "Kept by the page Schedules."
        task.save()
        if schedule.beat_task_id != task.pk:
            schedule.beat_task = task
            schedule.save(update_fields=["beat_task"])
        record(
            "schedule.changed",
            object_type="backups.schedule",
            object_id=str(schedule.pk),
            label=schedule.name,
            data={"cron": schedule.cron, "enabled": "on" if schedule.enabled else "off"},
        )
    return schedule


def delete(schedule: Schedule) -> None:
    """Its copies stay."""
    with transaction.atomic():
        record(
            "schedule.deleted",
            object_type="backups.schedule",
            object_id=str(schedule.pk),
            label=schedule.name,
        )
        task = schedule.beat_task
        schedule.delete()
        if task is not None:
            task.delete()


def start_due(now: datetime | None = None) -> list[Job]:
    """Start what is due, each slot once: two of these at the same time start nothing twice.

    A slot that was missed while nothing ran is started once, the newest only. One that a clock ahead of time
    started does not keep the real ones from starting. The jobs that were started.
    """
    moment, started = now or timezone.now(), []
    for schedule in Schedule.objects.filter(enabled=True).order_by("pk"):
        if schedule.last_slot and schedule.last_slot > moment + AHEAD:
            logger.warning(
                "The schedule %s last ran at %s, which is to come", schedule.name, schedule.last_slot
            )
            Schedule.objects.filter(pk=schedule.pk, last_slot=schedule.last_slot).update(last_slot=moment)
            continue
        try:
            slot = slots.due(slots.parse(schedule.cron), moment, schedule.last_slot)
        except slots.BadCron as error:
            logger.warning("The schedule %s has a time that cannot be read: %s", schedule.name, error)
            continue
        if slot is not None:
            started += _start(schedule, slot)
    return started


def _start(schedule: Schedule, slot: datetime) -> list[Job]:
    with transaction.atomic():
        mine = Schedule.objects.filter(
            Q(last_slot=None) | Q(last_slot__lt=slot), pk=schedule.pk, enabled=True
        )
        if not mine.update(last_slot=slot):
            return []  # somebody else has it
        return _drill(schedule) if schedule.drill else [_take(schedule, slot)]


def _take(schedule: Schedule, slot: datetime) -> Job:
    options = Options(
        schedule.source,
        schedule.format,
        schedule.scope,
        Backup.Trigger.SCHEDULE.value,
        schedule.pk,
        schedule.verify,
    )
    return ledger.enqueue(
        "backup",
        target=schedule.name,
        target_url=reverse("admin:backups"),
        params=asdict(options),
        title=f"{schedule.name}: {Source(schedule.source).label}, {Format(schedule.format).label}",
        unique_key=f"backup {schedule.pk} {slot.isoformat()}",
        actor=SYSTEM,
    )


def _drill(schedule: Schedule) -> list[Job]:
    """Proves the oldest copy that is kept of each source again: what is old rots unseen."""
    oldest = (
        Backup.objects.ours()
        .filter(state="verified")
        .order_by("source", "taken_at")
        .distinct("source")
        .only("pk", "file")
    )
    return [
        ledger.enqueue(
            "backup-verify",
            target=str(one),
            target_url=reverse("admin:backups_backup", args=[one.pk]),
            params={"backup": str(one.pk)},
            title=f"{schedule.name}: prove {one} again",
            unique_key=f"backup-verify {one.pk}",
            actor=SYSTEM,
        )
        for one in oldest
    ]
