"""Scheduled work of the PostgreSQL rooms."""

from arcweb.celery import app
from arcweb.database.partitions import retention
from arcweb.database.queries import snapshots


@app.task(name="arcweb.database.tasks.drop_old_partitions", ignore_result=True)
def drop_old_partitions() -> None:
    """Queues a job for each month of events that is no longer kept."""
    retention.enqueue_due()


@app.task(name="arcweb.database.tasks.snapshot_statements", ignore_result=True)
def snapshot_statements() -> None:
    """What pg_stat_statements has counted by now."""
    snapshots.take()
