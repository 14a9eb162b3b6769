"""Scheduled work of the PostgreSQL rooms."""

from arcweb.celery import app
from arcweb.database.partitions import retention


@app.task(name="arcweb.database.tasks.drop_old_partitions", ignore_result=True)
def drop_old_partitions() -> None:
    """Queues a job for each month of events that is no longer kept."""
    retention.enqueue_due()
