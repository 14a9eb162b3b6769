"""The file of a copy on its way into a restore: what its manifest says comes out of it, or nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from arcweb.backups.exceptions import CorruptCopy
from arcweb.backups.restore.source import Source
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
        ({"raw_bytes": len(CONTENT) - 1}, "to more than"),
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
