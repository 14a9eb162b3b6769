"""Whose base backups hold the log: those of its cluster, whatever the catalogue and the live database are."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from arcweb.backups import catalogue, seals
from arcweb.backups.models import Backup
from arcweb.backups.physical import archive, timeline
from arcweb.backups.physical.segments import Segment
from tests.backups.made import make_files

pytestmark = pytest.mark.django_db
OTHER = "f" * 32
NAMES = [Segment(1, number).name() for number in range(1, 7)]


@pytest.fixture(autouse=True)
def log(settings: Any, tmp_path: Path) -> Path:
    """Six segments, all of last week."""
    settings.ARC_BACKUP_DIR = tmp_path / "copies"
    settings.ARC_WAL_ARCHIVE_DIR = tmp_path / "log"
    found = tmp_path / "log"
    found.mkdir()
    for name in NAMES:
        (found / name).touch()
        os.utime(found / name, (1_700_000_000, 1_700_000_000))
    return found


def base(first: int, *, system: str = "", days: int = 3, **facts: Any) -> Path:
    """A whole base backup in the folder that needs the log from that segment on; its manifest. system: of its
    cluster, by default the live one."""
    bare, _ = make_files(format_="base", taken_at=datetime.now(UTC) - timedelta(days=days))
    system = system or timeline.now_live()[0]
    assert system, "the live cluster says which it is"
    physical = {"system": system, "first_segment": NAMES[first], "segment_bytes": 16 * 1024**2}
    made = seals.sealed(replace(bare, physical=physical, **facts))
    made.write(Path(catalogue.folder()))
    return catalogue.folder() / f"{made.file.name.partition('.')[0]}.manifest.json"


def left(log: Path) -> list[str]:
    archive.prune()
    return sorted(path.name for path in log.iterdir())


def test_base_backups_of_another_installation_in_this_cluster_hold_its_log(log: Path) -> None:
    base(2, installation=OTHER)
    catalogue.scan()
    assert [one.owner for one in Backup.objects.all()] == [OTHER]
    assert not Backup.objects.ours().exists()
    assert left(log) == NAMES[2:]


def test_without_any_base_backup_old_log_goes(log: Path) -> None:
    os.utime(log / NAMES[3])  # of now
    assert left(log) == [NAMES[3]]


def test_without_an_archive_nothing_is_done(log: Path, settings: Any) -> None:
    settings.ARC_WAL_ARCHIVE_DIR = log / "nowhere"
    assert archive.prune() == archive.Pruned()


def test_those_of_another_cluster_hold_the_log_only_while_there_are_none_of_this_one(log: Path) -> None:
    base(1, system="7", installation=OTHER)
    catalogue.scan()
    assert left(log) == NAMES[1:]
    base(3)
    catalogue.scan()
    assert left(log) == NAMES[3:]


def test_one_of_another_cluster_pushes_out_no_log(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the server does not say which cluster it is."""
    base(1, days=30)
    base(5, days=20, system="7")
    catalogue.scan()
    monkeypatch.setattr(timeline, "now_live", lambda: ("", 0))
    assert left(log) == NAMES[1:]


def test_what_the_catalogue_does_not_know_yet_holds_everything(log: Path) -> None:
    base(2)
    assert left(log) == NAMES
    catalogue.scan()
    base(4)
    assert left(log) == NAMES
    catalogue.scan()
    assert left(log) == NAMES[2:]


def test_so_does_one_whose_seal_does_not_fit_while_there_is_no_other(log: Path, settings: Any) -> None:
    base(2)
    key, settings.SECRET_KEY = settings.SECRET_KEY, "lost"
    catalogue.scan()
    assert Backup.objects.get().owner == seals.ELSEWHERE
    assert left(log) == NAMES
    settings.SECRET_KEY_FALLBACKS = [key]
    catalogue.scan()
    assert Backup.objects.get().owner != seals.ELSEWHERE
    assert left(log) == NAMES[2:]


def test_beside_one_of_ours_a_strangers_holds_nothing(log: Path, settings: Any) -> None:
    base(2)
    key, settings.SECRET_KEY = settings.SECRET_KEY, "of somebody else"
    base(0)
    settings.SECRET_KEY = key
    catalogue.scan()
    assert left(log) == NAMES[2:]


def test_one_that_does_not_say_what_it_needs_holds_everything(log: Path) -> None:
    base(2)
    catalogue.scan()
    one = Backup.objects.get()
    assert one.manifest is not None
    del one.manifest["physical"]["first_segment"]
    one.save()
    assert left(log) == NAMES


def test_what_cannot_be_removed_is_told_and_holds_nothing_else(log: Path) -> None:
    (log / NAMES[1]).unlink()
    (log / NAMES[1]).mkdir()
    os.utime(log / NAMES[1], (1_700_000_000, 1_700_000_000))
    done = archive.prune()
    assert done.files == 5
    assert f"{NAMES[1]} cannot be removed" in done.trouble
    assert left(log) == [NAMES[1]]


def test_a_folder_that_cannot_be_read_holds_everything(log: Path, settings: Any) -> None:
    settings.ARC_BACKUP_DIR.write_text("a file in its place")
    assert left(log) == NAMES
    settings.ARC_BACKUP_DIR.unlink()
    assert left(log) == []
