"""What a killed run left behind, and whether there is room for another. For the one whose turn it is."""

from __future__ import annotations

import logging
import shutil
import time
import uuid
from contextlib import suppress
from pathlib import Path

from django.db import transaction
from django.db.models.functions import Now

from arcweb.backups import manifest as manifests
from arcweb.backups.exceptions import CorruptCopy, SpaceError
from arcweb.backups.models import Backup
from arcweb.backups.streams import RESERVE, free_bytes
from arcweb.charts import size
from arcweb.events import record

logger = logging.getLogger(__name__)
#: Begins the names of folders in the spool that belong to one run.
SPOOLED = "agent-"
#: Seconds after which a half-written file that nobody touches belongs to no run, nor to an upload.
LEFT = 24 * 3600.0
STOPPED = "Its process stopped without a word (killed, or its machine went down)."
DIED = f"{STOPPED} Nothing of it was kept."


def check_space(folder: Path, wanted: int) -> None:
    """Refuses to begin what would not fit. wanted: bytes of the copy. Raises SpaceError, OSError."""
    free = free_bytes(folder)
    if free < wanted + RESERVE:
        raise SpaceError(
            f"{folder} has {size(free)} free; the copy takes about {size(wanted)}, and {size(RESERVE)} stay "
            "free for the servers. Make room or move ARC_BACKUP_DIR, then start again."
        )


def remove(folder: Path, file: str) -> None:
    """The data file of that name and its manifest go, if they are there; what cannot go is logged."""
    for name in (file, manifests.manifest_name(file)) if file else ():
        _unlink(folder / name)


def end_abandoned(folder: Path) -> int:
    """Ends the rows of runs whose process is gone, and removes what they wrote; returns how many.

    Only while nobody else can take a copy. A run that died after its manifest was written is whole, and its
    row says so; its hash is checked by the next verification. What cannot be removed is logged, and keeps no
    copy from being taken. Raises OSError when the folder cannot be read.
    """
    ended = 0
    for backup in Backup.objects.filter(state=Backup.State.RUNNING):
        mark = f"-{backup.pk.hex[:8]}."
        files = [path for path in folder.iterdir() if mark in path.name]
        for path in files:
            if path.name.endswith(manifests.ENDING) and _complete(backup, path):
                break
        else:
            why = _why([trouble for trouble in map(_unlink, files) if trouble])
            with transaction.atomic():
                if Backup.objects.fail(backup.pk, why):
                    record("backup.failed", obj=backup, note=why, data={"source": backup.source})
            files = []
        for path in files:
            if path.name.endswith(".part"):
                _unlink(path)
        ended += 1
    for path in folder.glob(".*.part"):  # their rows may be gone, too
        with suppress(OSError):
            if time.time() - path.lstat().st_mtime > LEFT:
                _unlink(path)
    for spooled in (folder / "spool").glob(f"{SPOOLED}*"):
        shutil.rmtree(spooled, ignore_errors=True)
    return ended


def _why(left: list[str]) -> str:
    """What the row says; left: why files of it are still there."""
    return f"{STOPPED} {' '.join(left)} Remove by hand what is left." if left else DIED


def _unlink(path: Path) -> str:
    """Why it could not be removed, in a sentence, which is logged; "" when it is gone."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        logger.warning("%s could not be removed: %s", path, error)
        return f"{path} could not be removed: {error.strerror or error}."
    return ""


def _complete(backup: Backup, path: Path) -> bool:
    """Whether the manifest at `path` is that of the row and its file is there: then the row says so."""
    try:
        manifest, sha256 = manifests.read(path)
        complete = manifest.id == str(backup.pk) and (
            (path.parent / manifest.file.name).stat().st_size == manifest.file.bytes
        )
        parent = Backup.objects.filter(pk=uuid.UUID(manifest.parent)).first() if manifest.parent else None
    except (CorruptCopy, OSError, ValueError):
        return False
    return complete and bool(
        Backup.objects.filter(pk=backup.pk, state=Backup.State.RUNNING).update(
            state=Backup.State.WRITTEN,
            local=True,
            parent=parent,
            finished_at=Now(),
            **Backup.objects.fields(manifest, sha256),
        )
    )
