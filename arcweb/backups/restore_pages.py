"""The pages of restores."""

from __future__ import annotations

from arcweb.backups import restore_views as views
from arcweb.registry import Page, register_page, register_shortcut

MAY = "backups.restore_backup"

register_page(Page("restores/", views.restores, "backups_restores", "Restores", "Safety", MAY, order=12))
for _path, _view, _name, _title in (
    ("backups/<uuid:backup>/restore/", views.begin, "backups_restore", "Restore"),
    ("restores/<uuid:restore>/", views.restore, "backups_restore_page", "Restore"),
    (
        "restores/<uuid:restore>/progress/",
        views.progress,
        "backups_restore_progress",
        "Progress of a restore",
    ),
    ("restores/<uuid:restore>/confirm/", views.confirm, "backups_restore_confirm", "Put it in place"),
    ("restores/<uuid:restore>/discard/", views.discard, "backups_restore_discard", "Discard a restore"),
    ("restores/<uuid:restore>/undo/", views.undo, "backups_restore_undo", "Undo a restore"),
):
    register_page(Page(_path, _view, _name, _title, "Safety", MAY, listed=False))
register_page(
    Page(
        "erasures/",
        views.erasures,
        "backups_erasures",
        "Erasures",
        "Safety",
        MAY,
        listed=False,
        below="admin:backups_restores",
    )
)
register_shortcut("backups_erasures")
