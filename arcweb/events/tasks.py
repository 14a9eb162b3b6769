"""Scheduled work of the event record."""

from arcweb.celery import app
from arcweb.events import partitions


@app.task(name="arcweb.events.tasks.ensure_partitions", ignore_result=True)
def ensure_partitions() -> None:
    partitions.ensure()
