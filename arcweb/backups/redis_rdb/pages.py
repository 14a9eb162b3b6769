"""The page that puts a copy of Redis back."""

from __future__ import annotations

from arcweb.backups.redis_rdb import views
from arcweb.registry import Page, register_page

register_page(
    Page(
        "backups/<uuid:backup>/restore-redis/",
        views.restore,
        "backups_restore_redis",
        "Put Redis back",
        "Safety",
        "backups.restore_backup",
        listed=False,
    )
)
