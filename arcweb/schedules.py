"""The beat table. Every entry expires, so that a downtime leaves no pile of old messages behind."""

from __future__ import annotations

from typing import Any

from celery.schedules import crontab

from arcweb.samples.slots import SLOT, OnTheSlot

SCHEDULE: dict[str, dict[str, Any]] = {
    "reconcile jobs": {
        "task": "arcweb.jobs.tasks.reconcile",
        "schedule": 10.0,
        "options": {"expires": 10},
    },
    "embed what waits": {
        "task": "memories.tasks.embed_pending",
        "schedule": 5.0,
        "options": {"expires": 5},
    },
    "take samples": {
        "task": "arcweb.samples.tasks.take_samples",
        "schedule": OnTheSlot(SLOT),
        "options": {"expires": SLOT},
    },
    "look at alarms": {
        "task": "arcweb.events.tasks.evaluate_alarms",
        "schedule": OnTheSlot(SLOT),
        "options": {"expires": SLOT},
    },
    "forget old alerts": {
        "task": "arcweb.events.tasks.forget_old_alerts",
        "schedule": crontab(hour=4, minute=7),
        "options": {"expires": 3600},
    },
    "tend the archive of the log": {
        "task": "arcweb.backups.tasks.tend_archive",
        "schedule": crontab(minute=23),
        "options": {"expires": 1800},
    },
    "look at the folder of the backups": {
        "task": "arcweb.backups.tasks.scan_folder",
        "schedule": crontab(minute=53),
        "options": {"expires": 1800},
    },
    "forget old jobs": {
        "task": "arcweb.jobs.tasks.forget_old_jobs",
        "schedule": crontab(hour=3, minute=37),
        "options": {"expires": 3600},
    },
    "forget old samples": {
        "task": "arcweb.samples.tasks.forget_old_samples",
        "schedule": crontab(hour=3, minute=57),
        "options": {"expires": 3600},
    },
    "forget old sessions": {
        "task": "arcweb.accounts.tasks.forget_old_sessions",
        "schedule": crontab(hour=3, minute=47),
        "options": {"expires": 3600},
    },
    "make event partitions": {
        "task": "arcweb.events.tasks.ensure_partitions",
        "schedule": crontab(hour=3, minute=17),
        "options": {"expires": 3600},
    },
    "drop old partitions": {
        "task": "arcweb.database.tasks.drop_old_partitions",
        "schedule": crontab(hour=3, minute=27),
        "options": {"expires": 3600},
    },
    "drop databases of before": {
        "task": "arcweb.backups.tasks.drop_kept",
        "schedule": 600.0,
        "options": {"expires": 600},
    },
    "start backups that are due": {
        "task": "arcweb.backups.tasks.start_due",
        "schedule": OnTheSlot(30),
        "options": {"expires": 30},
    },
    "snapshot statements": {
        "task": "arcweb.database.tasks.snapshot_statements",
        "schedule": OnTheSlot(600),
        "options": {"expires": 600},
    },
}
