"""The pages of schedules."""

from __future__ import annotations

from arcweb.backups.schedules import views
from arcweb.registry import Page, register_page, register_shortcut

register_page(
    Page(
        "backups/schedules/",
        views.schedules,
        "backups_schedules",
        "Backup schedules",
        "Safety",
        "backups.view_schedule",
        listed=False,
    )
)
for _path, _view, _name, _title, _permission in (
    ("new/", views.change, "backups_schedule_new", "New schedule", "backups.add_schedule"),
    ("<int:schedule>/", views.change, "backups_schedule", "Schedule", "backups.change_schedule"),
    (
        "<int:schedule>/delete/",
        views.delete,
        "backups_schedule_delete",
        "Delete a schedule",
        "backups.delete_schedule",
    ),
):
    register_page(
        Page(f"backups/schedules/{_path}", _view, _name, _title, "Safety", _permission, listed=False)
    )
register_shortcut("backups_schedules")
register_shortcut("backups_schedule_new", "New backup schedule")
