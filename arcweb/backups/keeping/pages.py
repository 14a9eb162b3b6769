"""The pages of what is kept."""

from __future__ import annotations

from arcweb.backups.keeping import views
from arcweb.registry import Page, register_page, register_shortcut

register_page(
    Page(
        "backups/retention/",
        views.retention,
        "backups_retention",
        "Backup retention",
        "Safety",
        views.SEE,
        listed=False,
    )
)
for _path, _view, _name, _title, _permission in (
    ("backups/retention/run/", views.run, "backups_retention_run", "Run retention", views.DELETE),
    ("backups/<uuid:backup>/delete/", views.delete, "backups_delete", "Delete a backup", views.DELETE),
    ("backups/<uuid:backup>/pin/", views.pin, "backups_pin", "Pin a backup", views.PIN),
):
    register_page(Page(_path, _view, _name, _title, "Safety", _permission, listed=False))
register_shortcut("backups_retention")
