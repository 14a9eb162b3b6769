"""A folder of this machine as a place: whole files of the right bytes, and no name that leads elsewhere."""

from __future__ import annotations

import hashlib
import io
from importlib import import_module
from pathlib import Path

import pytest

from arcweb.backups.exceptions import CorruptCopy, SpaceError
from arcweb.backups.places import Folder, PlaceError
from arcweb.backups.places.base import manifests

NAME = "postgres-20261123T100000Z-0a1b2c3d.dump.zst"


@pytest.fixture
def source(tmp_path: Path) -> tuple[Path, str]:
    path = tmp_path / "source"
    path.write_bytes(b"a copy, say")
    return path, hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def place(tmp_path: Path) -> Folder:
    folder = tmp_path / "place"
    folder.mkdir()
    return Folder(folder)


def test_what_is_put_there_comes_back_the_same(place: Folder, source: tuple[Path, str]) -> None:
    place.put(source[0], NAME, sha256=source[1])
    out = io.BytesIO()
    place.get(NAME, out)
    assert out.getvalue() == b"a copy, say"
    assert (place.path / NAME).stat().st_mode & 0o777 == 0o600
    assert (list(place.names()), place.size(NAME), place.read(NAME, 6)) == ([(NAME, 11)], 11, b"a copy")
    assert list(manifests(place)) == []
    place.delete(NAME)
    place.delete(NAME)  # as it may have been before
    assert place.size(NAME) is None


def test_other_bytes_than_the_manifest_says_are_not_kept(place: Folder, source: tuple[Path, str]) -> None:
    place.put(source[0], NAME, sha256=source[1])
    with pytest.raises(CorruptCopy, match="other bytes"):
        place.put(source[0], NAME, sha256="0" * 64)
    assert place.read(NAME, 100) == b"a copy, say"
    assert [path.name for path in place.path.iterdir()] == [NAME]


def test_what_does_not_fit_is_not_begun(
    place: Folder, source: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # By its name: the package has a function that is called as the module.
    module = import_module("arcweb.backups.places.folder")
    monkeypatch.setattr(module, "free_bytes", lambda folder: 1000)
    with pytest.raises(SpaceError, match="0 MB free"):
        place.put(source[0], NAME, sha256=source[1])
    assert list(place.path.iterdir()) == []


@pytest.mark.parametrize("name", ["", "../source", "/etc/passwd", "journal/lock", ".", "..", ".hidden"])
def test_a_name_that_leads_elsewhere_is_none(place: Folder, source: tuple[Path, str], name: str) -> None:
    for attempt in (
        lambda: place.put(source[0], name, sha256=source[1]),
        lambda: place.get(name, io.BytesIO()),
        lambda: place.read(name, 10),
        lambda: place.size(name),
        lambda: place.delete(name),
    ):
        with pytest.raises(PlaceError, match="is no name of a copy"):
            attempt()
    assert source[0].read_bytes() == b"a copy, say"
