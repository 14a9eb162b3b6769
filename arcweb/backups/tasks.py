"""Scheduled work of backups."""

from arcweb.backups.physical import tending
from arcweb.backups.restore import kept, starting
from arcweb.backups.schedules import keeping
from arcweb.celery import app


@app.task(name="arcweb.backups.tasks.start_due", ignore_result=True)
def start_due(*_schedules: int) -> None:
    """Starts what is due, each slot once; all schedules are looked at, whichever a message names."""
    keeping.start_due()


@app.task(name="arcweb.backups.tasks.drop_kept", ignore_result=True)
def drop_kept() -> None:
    """Drops the databases that restores left for a day, and has settled what a killed restore left: while
    nothing is paused nobody else looks for it before the next start, and no other restore can begin."""
    starting.settle()
    kept.drop_expired()
    kept.forget_old()


@app.task(name="arcweb.backups.tasks.tend_archive", ignore_result=True)
def tend_archive() -> None:
    """Removes log that no base backup needs, and clusters that restores to a time left for a day."""
    tending.tend()
