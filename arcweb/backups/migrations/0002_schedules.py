"""The schedules that every installation begins with: a night without a copy is nobody's choice."""

from __future__ import annotations

import json
from typing import Any

from django.conf import settings
from django.db import migrations
from django.utils import timezone

#: name, source, format, cron (UTC), drill.
DEFAULTS = (
    ("PostgreSQL every night", "postgres", "custom", "15 2 * * *", False),
    ("Redis state every night", "redis-state", "rdb", "45 2 * * *", False),
    ("Monthly drill", "postgres", "custom", "15 4 1 * *", True),
)
#: The embedded stack archives its log from the first start: base backups make moments of it.
EMBEDDED = (
    ("Whole server every Sunday", "postgres", "base", "15 3 * * 0", False),
    ("Whole server, what changed", "postgres", "incremental", "15 3 * * 1-6", False),
)


def make(apps: Any, editor: Any) -> None:
    models = {
        name: apps.get_model(app, name)
        for app, name in (
            ("backups", "Schedule"),
            ("django_celery_beat", "CrontabSchedule"),
            ("django_celery_beat", "PeriodicTask"),
        )
    }
    for name, source, format_, cron, drill in (*DEFAULTS, *(EMBEDDED if settings.ARC_EMBEDDED else ())):
        minute, hour, day, month, weekday = cron.split()
        schedule = models["Schedule"].objects.create(
            name=name, source=source, format=format_, cron=cron, drill=drill, last_slot=timezone.now()
        )
        crontab, _ = models["CrontabSchedule"].objects.get_or_create(
            minute=minute,
            hour=hour,
            day_of_month=day,
            month_of_year=month,
            day_of_week=weekday,
            timezone="UTC",
        )
        schedule.beat_task = models["PeriodicTask"].objects.create(
            name=f"backup {schedule.pk}: {name}",
            task="arcweb.backups.tasks.start_due",
            crontab=crontab,
            args=json.dumps([schedule.pk]),
            description="Kept by the page Schedules.",
        )
        schedule.save()


def unmake(apps: Any, editor: Any) -> None:
    apps.get_model("django_celery_beat", "PeriodicTask").objects.filter(
        task="arcweb.backups.tasks.start_due"
    ).delete()
    apps.get_model("backups", "Schedule").objects.all().delete()


class Migration(migrations.Migration):
    dependencies = [
        ("backups", "0001_initial"),
        ("django_celery_beat", "0019_alter_periodictasks_options"),
    ]
    operations = [migrations.RunPython(make, unmake)]
