"""The pages of backups: each area registers its own."""

from arcweb.backups import pages, restore_pages  # noqa: F401
from arcweb.backups.schedules import pages as schedule_pages  # noqa: F401
