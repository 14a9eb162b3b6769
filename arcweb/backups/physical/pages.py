"""The addresses of restores to a chosen time."""

from __future__ import annotations

from arcweb.backups.physical import views
from arcweb.registry import Page, register_page, register_shortcut

MAY = "backups.restore_backup"

register_page(
    Page(
        "point-in-time/",
        views.point_in_time,
        "backups_time",
        "Point in time",
        "Safety",
        MAY,
        listed=False,
        below="admin:backups",
    )
)
for _path, _view, _name, _title in (
    ("point-in-time/<uuid:restore>/", views.restore, "backups_time_restore", "Restore to a chosen time"),
    ("point-in-time/<uuid:restore>/progress/", views.progress, "backups_time_progress", "Progress"),
    ("point-in-time/<uuid:restore>/confirm/", views.confirm, "backups_time_confirm", "Put it in place"),
    ("point-in-time/<uuid:restore>/discard/", views.discard, "backups_time_discard", "Discard a restore"),
    ("point-in-time/<uuid:restore>/undo/", views.undo, "backups_time_undo", "Undo a restore"),
):
    register_page(Page(_path, _view, _name, _title, "Safety", MAY, listed=False, below="admin:backups"))
register_shortcut("backups_time", "Restore to a point in time")
