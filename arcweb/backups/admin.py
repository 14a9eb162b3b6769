"""The pages of backups: each area registers its own."""

from arcweb.backups import pages, restore_pages  # noqa: F401
from arcweb.backups.keeping import pages as keeping_pages  # noqa: F401
from arcweb.backups.physical import pages as physical_pages  # noqa: F401
from arcweb.backups.redis_rdb import pages as redis_pages  # noqa: F401
from arcweb.backups.schedules import pages as schedule_pages  # noqa: F401
from arcweb.backups.transfer import pages as transfer_pages  # noqa: F401
