"""The Celery application. It only executes: what runs, and how far it is, stands in PostgreSQL."""

import os
import time
from typing import Any

from celery import Celery, Task
from celery.signals import before_task_publish
from django.conf import settings

from arcweb import paused
from arcweb.schedules import SCHEDULE

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "arcweb.settings")


class PausingTask(Task):
    """Begins nothing while a restore exchanges the database: what is still due is sent again afterwards."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return None if paused.is_on(settings.ARC_BACKUP_DIR) else self.run(*args, **kwargs)


app = Celery("arcweb", task_cls=PausingTask)
app.config_from_object("django.conf:settings", namespace="CELERY")
app.conf.beat_schedule = SCHEDULE
app.autodiscover_tasks()


@before_task_publish.connect
def say_when(headers: dict[str, Any], **_kwargs: object) -> None:
    """Seconds since 1970, on every message: the queue itself does not tell how long one has waited."""
    headers["arcweb_sent_at"] = time.time()
