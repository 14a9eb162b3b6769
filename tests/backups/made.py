"""Copies for tests of what is done with them: real files with real manifests, and what they hold is noise."""

from __future__ import annotations

import os
import uuid
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path
from typing import Any

from django.conf import settings
from django.utils import timezone

from arcweb.backups.manifest import COMPRESSIONS, File, Manifest, file_name
from arcweb.backups.models import Backup
from arcweb.backups.streams import write_copy


def make_files(
    *,
    source: str = "postgres",
    format_: str = "custom",
    taken_at: datetime | None = None,
    size: int = 3000,
    content: bytes | None = None,
    recipients: tuple[str, ...] = (),
    parent: str = "",
    folder: Path | None = None,
) -> tuple[Manifest, str]:
    """A copy in the folder, its data file and its manifest; the manifest and its sha256."""
    id_, moment = uuid.uuid4(), (taken_at or timezone.now()).astimezone(UTC)
    folder = folder or Path(settings.ARC_BACKUP_DIR)
    folder.mkdir(parents=True, exist_ok=True)
    name = file_name(source, format_, id_, moment, encrypted=bool(recipients))
    written = write_copy(
        BytesIO(content if content is not None else os.urandom(size)),
        folder / name,
        compression=COMPRESSIONS[format_],
        recipients=recipients,
        reserve=0,
    )
    manifest = Manifest(
        id=str(id_),
        source=source,
        format=format_,
        taken_at=moment,
        started_at=moment,
        finished_at=moment + timedelta(seconds=2),
        seconds=2.0,
        parent=parent,
        file=File(
            name=name,
            bytes=written.bytes,
            sha256=written.sha256,
            raw_bytes=written.raw_bytes,
            raw_sha256=written.raw_sha256,
            compression=COMPRESSIONS[format_],
            encryption="age" if recipients else "",
        ),
    )
    return manifest, manifest.write(folder)


def make_copy(state: str = "verified", *, days: float = 0, **options: Any) -> Backup:
    """A copy with its row, of so many days ago. options: of make_files, and fields of the row."""
    named = {"source", "format_", "taken_at", "size", "content", "recipients", "folder"}
    of_files = {name: options.pop(name) for name in list(options) if name in named}
    moment = of_files.setdefault("taken_at", timezone.now() - timedelta(days=days))
    parent = options.get("parent")
    manifest, sha256 = make_files(**of_files, parent=str(parent.pk) if parent else "")
    fields = {
        "trigger": "schedule",
        "local": True,
        "created_at": moment,
        "finished_at": moment,
        "verified_at": moment if state == "verified" else None,
        "hashed_at": moment if state in ("verified", "hashed") else None,
    } | options
    return Backup.objects.create(
        pk=uuid.UUID(manifest.id),
        source=manifest.source,
        format=manifest.format,
        state=state,
        **Backup.objects.fields(manifest, sha256),
        **fields,
    )


def on_disk() -> set[str]:
    """What stands in the folder of backups, without what is unfinished."""
    folder = Path(settings.ARC_BACKUP_DIR)
    return {path.name for path in folder.iterdir() if path.is_file()} if folder.exists() else set()
