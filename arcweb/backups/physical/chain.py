"""Base backups, whole and incremental, and what each builds on; by the catalogue or the manifests alone."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from django.db import DatabaseError

from arcweb.backups import manifest as manifests
from arcweb.backups import seals
from arcweb.backups.exceptions import BackupError, CorruptCopy
from arcweb.backups.manifest import ENDING, Manifest, sync_folder
from arcweb.backups.models import Backup, Format, Source
from arcweb.backups.physical import copies, segments
from arcweb.backups.physical.tar import MANIFEST, Watcher

FOLDER = "chains"
#: Copies that one restore may need; each must be whole.
LONGEST = 30
FORMATS = (Format.BASE.value, Format.INCREMENTAL.value)


@dataclass(frozen=True)
class Item:
    """A base backup. state: of its row; "written" where only its manifest is known."""

    id: str
    state: str
    local: bool
    manifest: Manifest

    @property
    def file(self) -> str:
        return self.manifest.file.name

    @property
    def taken_at(self) -> datetime:
        return self.manifest.taken_at

    @property
    def system(self) -> str:
        return str(self.manifest.physical.get("system", ""))


Items = Mapping[str, Item]


def known() -> Items:
    """Every base backup that should be whole or is known to be bad, by id; by the manifests in ARC_BACKUP_DIR
    where the database cannot be asked. A manifest that cannot be read is left out."""
    try:
        rows = Backup.objects.present().filter(source=Source.POSTGRES, format__in=FORMATS)
        found = []
        for row in rows:
            with suppress(CorruptCopy):
                found.append(Item(str(row.pk), row.state, row.local, copies.manifest_of(row)))
    except DatabaseError:
        found = list(on_disk(copies.folder()))
    return {one.id: one for one in found}


def on_disk(folder: Path) -> Iterator[Item]:
    """Every base backup in the folder whose manifest can be read."""
    for path in sorted(folder.glob(f"{Source.POSTGRES}-*{ENDING}")):
        with suppress(CorruptCopy, OSError):
            manifest, _ = manifests.read(path)
            if manifest.format in FORMATS:
                yield Item(manifest.id, "written", (folder / manifest.file.name).is_file(), manifest)


def newest(items: Items, system: str, line: Sequence[segments.Step]) -> Item | None:
    """The newest whole copy of that cluster with all that it builds on, each of them here and made here: what
    builds on a stranger's is never started.

    line: the server's line of descent. A copy of another branch, as an undo leaves them, is no beginning:
    PostgreSQL refuses an incremental one on it.
    """
    whole = [one for one in items.values() if one.system == system and one.state in ("hashed", "verified")]
    found = [one for one in whole if seals.is_ours(one.manifest) and _is_on(line, one)]
    for one in sorted(found, key=_place, reverse=True):
        with suppress(CorruptCopy):
            if all(each.local and seals.is_ours(each.manifest) for each in ancestors(items, one)):
                return one
    return None


def _is_on(line: Sequence[segments.Step], one: Item) -> bool:
    physical = one.manifest.physical
    return segments.on_the_way(line, int(physical["timeline"]), segments.lsn(str(physical["stop_lsn"])))


def _place(one: Item) -> tuple[int, int]:
    """In the cluster's log, which no clock that was set back disturbs."""
    physical = one.manifest.physical
    return int(physical["timeline"]), segments.lsn(str(physical["start_lsn"]))


def ancestors(items: Items, last: Item) -> list[Item]:
    """The copies that it takes to restore this one, the whole one first, itself last.

    Raises CorruptCopy when one is gone, bad, or the chain has no beginning.
    """
    found = [last]
    while found[0].manifest.format == Format.INCREMENTAL:
        one = items.get(found[0].manifest.parent)
        if one is None:
            raise CorruptCopy(f"{found[0].file} builds on a base backup that is gone: it cannot be restored.")
        if one.state == "bad":
            raise CorruptCopy(f"{found[0].file} builds on {one.file}, which is bad: it cannot be restored.")
        if len(found) > LONGEST:
            raise CorruptCopy(f"{last.file} builds on more than {LONGEST} copies.")
        found.insert(0, one)
    return found


def needed(kept: Iterable[str]) -> set[str]:
    """The ids of all copies that restoring the kept ones takes, themselves included: for retention."""
    items = known()
    found = set(kept)
    for one in [items[id_] for id_ in found if id_ in items]:
        with suppress(CorruptCopy):
            found |= {each.id for each in ancestors(items, one)}
    return found


def keep(folder: Path, id_: str, listed: bytes) -> None:
    """Puts a backup's own manifest aside, for the next incremental. Raises OSError."""
    place = folder / FOLDER
    place.mkdir(mode=0o700, exist_ok=True)
    part = place / f".{id_}.part"
    try:
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(listed)
            file.flush()
            os.fsync(file.fileno())
        part.rename(place / id_)
        sync_folder(place)
    finally:
        part.unlink(missing_ok=True)


def forget_unneeded(folder: Path) -> None:
    """Removes what was put aside of copies that are no more."""
    place = folder / FOLDER
    if not place.is_dir():
        return
    whole = Backup.objects.exclude(state__in=["deleted", "failed"])
    wanted = {str(pk) for pk in whole.values_list("pk", flat=True)}
    for path in place.iterdir():
        if path.name.removeprefix(".").removesuffix(".part") not in wanted:
            path.unlink(missing_ok=True)


@contextmanager
def listed(item: Item, folder: Path, check: Callable[[], None]) -> Iterator[Path]:
    """A file with the backup_manifest of that copy: the one put aside, else read out of the copy itself.

    Raises BackupError when neither can be had.
    """
    path = folder / FOLDER / item.id
    if not path.is_file():
        with copies.opened(item.manifest, folder) as source:
            watcher = Watcher(source, (MANIFEST,))
            while watcher.read(1024 * 1024):
                check()
        if MANIFEST not in watcher.members:
            raise BackupError(f"{item.file} holds no backup_manifest.")
        keep(folder, item.id, bytes(watcher.members[MANIFEST]))
    yield path
