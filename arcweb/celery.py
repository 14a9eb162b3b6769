"""The Celery application. It only executes: what runs, and how far it is, stands in PostgreSQL."""

import os

from celery import Celery

from arcweb.schedules import SCHEDULE

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "arcweb.settings")
app = Celery("arcweb")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.conf.beat_schedule = SCHEDULE
app.autodiscover_tasks()
