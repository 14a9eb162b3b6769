"""Whose copy each row is: what a scan or an upload brought without our seal is of another installation."""

from typing import Any

from django.db import migrations, models


def find_strangers(apps: Any, schema_editor: Any) -> None:
    """Copies that were taken here are of this installation, also once another's database is live; found ones
    with our seal say of none, and stay ours, as they counted before."""
    from arcweb.backups.exceptions import CorruptCopy
    from arcweb.backups.manifest import Manifest
    from arcweb.backups.querysets import installation
    from arcweb.backups.seals import ELSEWHERE, owner_of

    every = apps.get_model("backups", "Backup").objects
    every.exclude(trigger="found").update(owner=installation())
    rows = every.filter(trigger="found", manifest__isnull=False)
    for pk, manifest in rows.values_list("pk", "manifest").iterator(chunk_size=10):
        try:
            owner = owner_of(Manifest.from_json(manifest))
        except CorruptCopy:
            owner = ELSEWHERE
        if owner:
            rows.filter(pk=pk).update(owner=owner)


class Migration(migrations.Migration):
    dependencies = [("backups", "0003_download_links")]

    operations = [
        migrations.AddField("backup", "owner", models.TextField(blank=True, db_default="")),
        migrations.RunPython(find_strangers, migrations.RunPython.noop, elidable=True),
    ]
