"""The pages of the catalogue: the list, one copy, taking and verifying."""

from __future__ import annotations

from arcweb.backups.pages import detail_views, list_views
from arcweb.registry import Page, register_page, register_shortcut

SEE, TAKE, VERIFY = "backups.view_backup", "backups.take_backup", "backups.verify_backup"

register_page(Page("backups/", list_views.backups, "backups", "Backups", "Safety", SEE, order=10))
for _path, _view, _name, _title, _permission in (
    ("backups/take/", list_views.take, "backups_take", "Take a backup", TAKE),
    ("backups/scan/", list_views.scan, "backups_scan", "Look for copies in the folder", TAKE),
    ("backups/<uuid:backup>/", detail_views.backup, "backups_backup", "Backup", SEE),
    ("backups/<uuid:backup>/verify/", detail_views.verify, "backups_verify", "Verify a backup", VERIFY),
    ("backups/<uuid:backup>/send/", detail_views.send, "backups_send", "Put a backup into the store", TAKE),
):
    register_page(Page(_path, _view, _name, _title, "Safety", _permission, listed=False))
register_shortcut("backups_take")
