"""The catalogue of copies: the manifests in ARC_BACKUP_DIR are the truth, the rows follow them."""

from __future__ import annotations

import uuid
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models.functions import Now

from arcweb.backups import manifest as manifests
from arcweb.backups import seals
from arcweb.backups.exceptions import BackupError, CorruptCopy
from arcweb.backups.manifest import Manifest
from arcweb.backups.models import Backup
from arcweb.events import record

#: Before every copy, in an order by time.
NEVER = datetime.min.replace(tzinfo=UTC)
ALONE = " has no manifest beside it: it cannot be checked, and does not count."
GONE = "Its file is gone from ARC_BACKUP_DIR, and nothing here removed it."


@dataclass(frozen=True)
class OnDisk:
    """A manifest in the folder, or the sentence that says what is wrong with it; a copy with a manifest may
    have trouble, too. `sha256` is the manifest's own."""

    name: str
    manifest: Manifest | None = None
    sha256: str = ""
    trouble: str = ""


@dataclass
class Scan:
    """File names. known: rows whose copies are there, as they were. troubles: sentences."""

    known: int = 0
    found: list[str] = field(default_factory=list)
    returned: list[str] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)
    troubles: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def folder() -> Path:
    return Path(settings.ARC_BACKUP_DIR)


def on_disk() -> list[OnDisk]:
    """Every manifest in the folder, newest copy first, then what is in trouble without one; no folder, no
    copies. Data files without a manifest are trouble, too. Needs no database. Raises BackupError."""
    place = folder()
    try:
        names = {path.name for path in place.iterdir()} if place.is_dir() else set()
    except OSError as error:
        raise BackupError(f"{place} cannot be read: {error.strerror or error}.") from error
    read = [_read(place, name, names) for name in sorted(names) if _is_manifest(name)]
    seen = [one for one in read if one.manifest]
    described = {one.manifest.file.name for one in seen if one.manifest}
    alone = (name for name in sorted(names - described) if manifests.FILE_NAME.fullmatch(name))
    troubled = [OnDisk(name, trouble=name + ALONE) for name in alone]
    seen.sort(key=lambda one: (one.manifest.taken_at if one.manifest else NEVER, one.name), reverse=True)
    return [*seen, *(one for one in read if not one.manifest), *troubled]


def _is_manifest(name: str) -> bool:
    return name.endswith(manifests.ENDING) and not name.startswith(".")


def scan() -> Scan:
    """Makes rows for copies that the database has never heard of, and marks those whose files are gone.

    A copy that comes back counts as written: it has to be proven again. One whose seal did not fit is ours
    once it does. Raises BackupError, also for a folder without any copy where several are known to be, and
    django.db.Error when PostgreSQL is away.
    """
    result = Scan()
    copies = on_disk()
    expected = Backup.objects.present().filter(local=True).count()
    if not copies and expected > 1:
        # A disk that is not mounted looks like this, and its copies would have to be proven anew.
        raise BackupError(
            f"{folder()} holds no copy at all, and {expected} are known to be there: is its disk mounted? "
            "Nothing was changed. If they are gone for good, take a backup and scan again."
        )
    result.troubles += [one.trouble for one in copies if one.trouble]
    # Oldest first: an incremental's parent has its row before it.
    for one in reversed([one for one in copies if one.manifest]):
        try:
            with transaction.atomic():
                _register(one, result)
        except BackupError as error:
            result.troubles.append(str(error))
    there = {one.manifest.file.name for one in copies if one.manifest}
    for backup in Backup.objects.present().filter(local=True).exclude(file__in=there):
        if (folder() / backup.file).exists():
            continue  # its manifest alone is gone, and said so above
        with transaction.atomic():
            if _lost(backup):
                result.gone.append(backup.file)
    _recognise()
    return result


def register(manifest: Manifest, manifest_sha256: str, **fields: Any) -> Backup:
    """The row of a copy that the database may not know: that of its id, or a new one, found and written.

    fields: of a new row, such as local=True. Raises BackupError when another copy has its file's name.
    """
    identity = uuid.UUID(manifest.id)
    if known := Backup.objects.filter(pk=identity).first():
        return known
    if Backup.objects.filter(file=manifest.file.name).exists():
        raise BackupError(f"{manifest.file.name} is the file of another copy in the catalogue.")
    parent_id = _uuid(manifest.parent)
    parent = Backup.objects.filter(pk=parent_id).first() if parent_id else None
    return Backup.objects.create(
        pk=identity,
        source=manifest.source,
        format=manifest.format,
        scope=manifest.scope,
        state=Backup.State.WRITTEN,
        trigger=Backup.Trigger.FOUND,
        parent=parent,
        owner=seals.owner_of(manifest),
        created_at=manifest.started_at,
        finished_at=manifest.finished_at,
        **Backup.objects.fields(manifest, manifest_sha256),
        **fields,
    )


def as_json(backup: Backup) -> dict[str, Any]:
    """A row for people and programs outside. Many rows: of a queryset that is `marked`."""
    return {
        "id": str(backup.pk),
        "source": backup.source,
        "format": backup.format,
        "scope": backup.scope,
        "state": backup.state,
        "trigger": backup.trigger,
        "elsewhere": backup.elsewhere,
        "file": backup.file,
        "path": str(folder() / backup.file) if backup.local else "",
        "bytes": backup.bytes,
        "sha256": backup.sha256,
        "taken_at": backup.taken_at.isoformat() if backup.taken_at else None,
        "verified_at": backup.verified_at.isoformat() if backup.verified_at else None,
        "seconds": (backup.manifest or {}).get("seconds"),
        "pinned": backup.pinned_at is not None,
        "trouble": backup.trouble,
    }


def manifest_as_json(manifest: Manifest) -> dict[str, Any]:
    """As as_json, as far as a manifest knows."""
    return {
        "id": manifest.id,
        "source": manifest.source,
        "format": manifest.format,
        "scope": manifest.scope,
        "state": "unknown",
        "trigger": manifest.trigger,
        "elsewhere": None if seals.is_ours(manifest) else True,  # whose this database is, it alone says
        "file": manifest.file.name,
        "path": str(folder() / manifest.file.name),
        "bytes": manifest.file.bytes,
        "sha256": manifest.file.sha256,
        "taken_at": manifest.taken_at.isoformat(),
        "verified_at": None,
        "seconds": manifest.seconds,
        "pinned": None,
        "trouble": "",
    }


def _read(place: Path, name: str, names: set[str]) -> OnDisk:
    try:
        manifest, sha256 = manifests.read(place / name)
    except CorruptCopy as error:
        return OnDisk(name, trouble=f"{name}: {error}")
    except OSError as error:
        return OnDisk(name, trouble=f"{name} cannot be read: {error.strerror or error}.")
    if manifests.manifest_name(manifest.file.name) != name:
        return OnDisk(
            name, trouble=f"{name} describes another copy, {manifest.file.name}: it was renamed or swapped."
        )
    if manifest.file.name not in names:
        return OnDisk(name, trouble=f"{name} has lost its copy: {manifest.file.name} is not there.")
    return OnDisk(name, manifest, sha256)


def _register(one: OnDisk, result: Scan) -> None:
    manifest = one.manifest
    if manifest is None:
        return
    known = Backup.objects.filter(pk=uuid.UUID(manifest.id)).first()
    if known is None:
        register(manifest, one.sha256, local=True)
        result.found.append(manifest.file.name)
    elif known.state in (Backup.State.RUNNING, Backup.State.FAILED) or known.delete_trouble:
        pass  # being taken just now, or ended by the next that is; or being deleted
    elif known.file != manifest.file.name:
        raise BackupError(f"{one.name} gives itself the id of another copy, {known.file}.")
    elif known.local and known.state != Backup.State.DELETED:
        result.known += 1
    elif known.sha256 != manifest.file.sha256:
        raise BackupError(f"{one.name} describes other bytes than {known.file} had: it does not come back.")
    elif (folder() / known.file).exists():  # it may have been deleted since the folder was listed
        _returned(known)
        result.returned.append(manifest.file.name)


def _returned(backup: Backup) -> None:
    rows = Backup.objects.filter(pk=backup.pk)
    rows.filter(state=Backup.State.DELETED).update(
        state=Backup.State.WRITTEN, local=True, deleted_at=None, trouble="", hashed_at=None
    )
    rows.filter(local=False).update(local=True)


def _recognise() -> None:
    """Copies whose seal did not fit when they were found, and does now: their SECRET_KEY was put back."""
    strangers = Backup.objects.present().filter(owner=seals.ELSEWHERE, manifest__isnull=False)
    for pk, found in strangers.values_list("pk", "manifest").iterator(chunk_size=10):
        with suppress(CorruptCopy):
            if (owner := seals.owner_of(Manifest.from_json(found))) != seals.ELSEWHERE:
                strangers.filter(pk=pk).update(owner=owner)


def _lost(backup: Backup) -> bool:
    """The row of a file that is gone; a copy elsewhere goes on counting."""
    rows = Backup.objects.present().filter(pk=backup.pk, local=True)
    if backup.remote:
        return bool(rows.update(local=False))
    if not rows.update(state=Backup.State.DELETED, local=False, deleted_at=Now(), trouble=GONE):
        return False
    facts = {"source": backup.source, "reason": "its file was gone"}
    record("backup.deleted", obj=backup, note=GONE, data=facts)
    return True


def _uuid(text: str) -> uuid.UUID | None:
    try:
        return uuid.UUID(text)
    except ValueError:
        return None
