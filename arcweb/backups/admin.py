"""The pages of backups: each area registers its own."""

from django.contrib import admin
from django_celery_beat import admin as beat_admin
from django_celery_beat import models as beat

from arcweb.backups import pages, restore_pages  # noqa: F401
from arcweb.backups.keeping import pages as keeping_pages  # noqa: F401
from arcweb.backups.physical import pages as physical_pages  # noqa: F401
from arcweb.backups.redis_rdb import pages as redis_pages  # noqa: F401
from arcweb.backups.schedules import pages as schedule_pages  # noqa: F401
from arcweb.backups.transfer import pages as transfer_pages  # noqa: F401

# The page Backup schedules keeps these tables; changed beside it, they would say what does not happen.
for _model in (
    beat.ClockedSchedule,
    beat.CrontabSchedule,
    beat.IntervalSchedule,
    beat.PeriodicTask,
    beat.SolarSchedule,
):
    if beat_admin.admin.site.is_registered(_model):
        admin.site.unregister(_model)
