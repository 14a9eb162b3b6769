"""The file of a copy on its way into a restore: what its manifest says comes out of it, or nothing."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from arcweb.backups import streams
from arcweb.backups.exceptions import CorruptCopy, SpaceError
from arcweb.backups.proving import unpacking
from arcweb.backups.restore.source import Source, find
from tests.backups.made import make_files

CONTENT = b"rows and rows " * 500


@pytest.fixture
def source(settings: Any, tmp_path: Path) -> Source:
    settings.ARC_BACKUP_DIR = tmp_path
    manifest, _ = make_files(content=CONTENT)
    return Source(tmp_path / manifest.file.name, manifest)


def test_what_was_copied_comes_out_and_goes_with_the_block(source: Source, tmp_path: Path) -> None:
    source.check()
    with source.unpacked() as dump:
        assert dump.read_bytes() == CONTENT
        assert dump.stat().st_mode & 0o777 == 0o600
    assert list((tmp_path / "spool").iterdir()) == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"raw_sha256": "0" * 64}, "something else"),
        ({"raw_bytes": len(CONTENT) + 1}, "something else"),
        ({"raw_bytes": len(CONTENT) - 1}, "holds more than its manifest says"),
    ],
)
def test_what_comes_out_otherwise_is_restored_nowhere(
    source: Source, change: dict[str, Any], words: str, tmp_path: Path
) -> None:
    assert source.manifest is not None
    lying = replace(source, manifest=replace(source.manifest, file=replace(source.manifest.file, **change)))
    lying.check()  # the file itself is the one of the manifest
    with pytest.raises(CorruptCopy, match=words), lying.unpacked():
        pytest.fail("it was unpacked")
    assert list((tmp_path / "spool").iterdir()) == []


def test_a_file_beside_the_manifest_of_another_copy_is_not_taken_for_that_one(source: Source) -> None:
    assert source.manifest is not None
    assert find(str(source.path)).manifest == source.manifest
    renamed = source.path.rename(source.path.with_name(f"renamed-{source.path.name}"))
    assert find(str(renamed)).manifest is None
    beside = f"{source.path.name.partition('.')[0]}.manifest.json"
    source.path.with_name(beside).rename(source.path.with_name(f"renamed-{beside}"))
    with pytest.raises(CorruptCopy, match=f"is the manifest of another copy, {source.path.name}"):
        find(str(renamed))


def test_there_must_be_room_for_what_comes_out(source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    for one in (source, replace(source, manifest=None)):
        monkeypatch.setattr(streams, "free_bytes", lambda path: streams.RESERVE - 1)
        with pytest.raises(SpaceError, match=r"are needed and .* stay free for the servers"), one.unpacked():
            pytest.fail("it was unpacked")
    # Of a file without a manifest nobody knows beforehand how much it is.
    left = iter([2 * streams.RESERVE, streams.RESERVE - 1])
    monkeypatch.setattr(streams, "free_bytes", lambda path: next(left))
    with pytest.raises(SpaceError, match="stay free for the servers"), one.unpacked():
        pytest.fail("it was unpacked")


def test_a_file_from_outside_unpacks_to_no_more_than_a_dump_of_its_length(
    source: Source, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(unpacking, "HARMLESS", 0)
    monkeypatch.setattr(unpacking, "MOST_RATIO", 1)
    for one in (source, replace(source, manifest=None)):
        with pytest.raises(CorruptCopy, match="made to fill a disk"), one.unpacked():
            pytest.fail("it was unpacked")
        with replace(one, trusted=True).unpacked() as dump:
            assert dump.read_bytes() == CONTENT
    assert list((tmp_path / "spool").iterdir()) == []


def test_the_time_of_a_file_that_is_not_ours_is_not_believed(source: Source) -> None:
    """What was erased since is erased from it again: of such a file, everything that ever was."""
    assert source.manifest is not None
    assert replace(source, trusted=True).since == source.manifest.taken_at
    assert replace(source, trusted=False).since == datetime.fromtimestamp(0, UTC)
