"""The pages of copies that come and go."""

from __future__ import annotations

from arcweb.backups.transfer import download_views, upload_views
from arcweb.registry import Page, register_page, register_shortcut

DOWNLOAD, UPLOAD = "backups.download_backup", "backups.upload_backup"

for _path, _view, _name, _title, _permission in (
    (
        "backups/<uuid:backup>/download/",
        download_views.ask,
        "backups_download",
        "Download a backup",
        DOWNLOAD,
    ),
    ("backups/<uuid:backup>/manifest/", download_views.manifest, "backups_manifest", "Manifest", DOWNLOAD),
    ("backups/upload/", upload_views.upload, "backups_upload", "Upload a backup", UPLOAD),
    ("backups/download/<str:token>/", download_views.file, "backups_download_file", "Backup file", DOWNLOAD),
):
    register_page(Page(_path, _view, _name, _title, "Safety", _permission, listed=False))
register_shortcut("backups_upload")
