"""What is kept outlasts a power failure: on the disk before it has its name, and then its name is."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from arcweb.backups import erasures, streams
from arcweb.backups.manifest import Manifest
from arcweb.backups.physical import chain
from arcweb.backups.physical.journal import Journal as TimeJournal
from arcweb.backups.physical.journal import Journals
from arcweb.backups.places import Folder
from arcweb.backups.restore.journal import Folder as Notes
from arcweb.backups.restore.journal import Journal
from tests.backups.test_manifest import example

DATA = b"what is kept"


def copy(folder: Path) -> Path:
    streams.write_copy(io.BytesIO(DATA), folder / "copy", compression="zstd")
    return folder / "copy"


def manifest(folder: Path) -> Path:
    found: Manifest = example()
    found.write(folder)
    return next(folder.glob("*.manifest.json"))


def place(folder: Path) -> Path:
    source = folder.parent / "source"
    source.write_bytes(DATA)
    Folder(folder).put(source, "copy", sha256=hashlib.sha256(DATA).hexdigest())
    return folder / "copy"


def notes(folder: Path) -> Path:
    one = Journal.begin("restore", live="arc", actor={})
    Notes(folder).write(one)
    return folder / "journal" / f"{one.id}.json"


def notes_of_time(folder: Path) -> Path:
    one = TimeJournal.begin("2026-11-23T07:00:00+00:00", {})
    Journals(folder).write(one)
    return folder / "journal" / f"{one.id}.time"


def listed(folder: Path) -> Path:
    chain.keep(folder, "a-copy", DATA)
    return folder / "chains" / "a-copy"


@pytest.fixture
def done(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Path]]:
    """What was synced and what got which name, in order; all of it really is."""
    found: list[tuple[str, Path]] = []
    sync, rename = os.fsync, Path.rename

    def synced(handle: int) -> None:
        sync(handle)
        found.append(("synced", Path(f"/proc/self/fd/{handle}").readlink()))

    def renamed(path: Path, target: Path) -> Path:
        found.append(("renamed", path))
        return rename(path, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(Path, "rename", renamed)
    return found


@pytest.mark.parametrize("keep", [copy, manifest, place, notes, notes_of_time, listed])
def test_a_file_is_on_the_disk_before_it_has_its_name_and_then_its_folder_is(
    keep: Callable[[Path], Path], done: list[tuple[str, Path]], tmp_path: Path
) -> None:
    folder = (tmp_path / "backups").resolve()
    folder.mkdir()
    kept = keep(folder)
    assert kept.is_file()
    (part,) = (path for what, path in done if what == "renamed")
    assert part.parent == kept.parent
    assert part.name.startswith(".")
    assert done == [("synced", part), ("renamed", part), ("synced", kept.parent)]


@pytest.mark.django_db
def test_an_erasure_is_on_the_disk_before_anything_is_erased(
    done: list[tuple[str, Path]], tmp_path: Path
) -> None:
    folder = tmp_path.resolve()
    erasures.order(folder, "agent", {"id": "1a2b3c4d-0000-4000-8000-000000000000"})
    assert done == [("synced", folder / erasures.NAME), ("synced", folder)]
