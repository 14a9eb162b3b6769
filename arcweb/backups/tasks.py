"""Scheduled work of backups."""

import logging

from arcweb.backups import catalogue
from arcweb.backups.exceptions import BackupError
from arcweb.backups.physical import tending
from arcweb.backups.restore import kept, starting
from arcweb.backups.schedules import keeping
from arcweb.celery import app

logger = logging.getLogger(__name__)


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


@app.task(name="arcweb.backups.tasks.scan_folder", ignore_result=True)
def scan_folder() -> None:
    """Brings the catalogue into line with the folder: a copy whose file is gone protects nobody."""
    try:
        found = catalogue.scan()
    except BackupError as error:
        logger.warning("%s", error)
        return
    for file in found.gone:
        logger.warning("%s is gone from the folder of the backups, and nothing here removed it.", file)
