"""The journal: whole on the disk, one process at a time, and never believed blindly."""

from __future__ import annotations

import json
import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from arcweb.backups.exceptions import LockedOut
from arcweb.backups.physical import journal as times
from arcweb.backups.restore import kept, launching
from arcweb.backups.restore.journal import (
    ASKED,
    BROKEN,
    DROPPED,
    EXCHANGING,
    FINISHED,
    PREPARING,
    WAITING,
    Folder,
    Journal,
)
from arcweb.embedded.processes import LONGEST_LOG
from tests.backups.restore.conftest import full_disk


def journal(**values: object) -> Journal:
    made = Journal.begin("restore", live="arc", actor={"kind": "user", "id": "1", "name": "anna"})
    for name, value in values.items():
        setattr(made, name, value)
    return made


def test_what_is_written_is_read(tmp_path: Path) -> None:
    folder, one = Folder(tmp_path), journal(state=PREPARING, facts={"a": 1})
    one.step("load").done = 7
    folder.write(one)
    assert folder.read(one.id) == one
    assert folder.unfinished() == [one]
    assert (folder.path / f"{one.id}.json").stat().st_mode & 0o777 == 0o600
    assert folder.path.stat().st_mode & 0o777 == 0o700
    assert not list(folder.path.glob(".*"))


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"steps": 3}', "\x00", '{"steps": [{"name": 1}]}'])
def test_what_is_none_is_passed_over(tmp_path: Path, text: str) -> None:
    folder = Folder(tmp_path)
    folder.make()
    one = journal()
    (folder.path / f"{one.id}.json").write_text(text)
    assert folder.read(one.id) is None
    assert folder.all() == []
    one.id = "../beside"
    folder.write(one)
    assert (tmp_path / "beside.json").is_file()
    assert folder.read("../beside") is None


def test_what_another_version_wrote_beside_it_is_passed_over(tmp_path: Path) -> None:
    folder, kept_times = Folder(tmp_path), times.Journals(tmp_path)
    one, at_a_time = journal(), times.Journal.begin("2026-01-01T00:00:00+00:00", {})
    folder.write(one)
    kept_times.write(at_a_time)
    for path in (folder.path / f"{one.id}.json", kept_times.path_of(at_a_time)):
        values = json.loads(path.read_text())
        values["of_tomorrow"] = values["steps"][0]["of_tomorrow"] = 1
        path.write_text(json.dumps(values))
    assert folder.read(one.id) == one
    assert kept_times.read(at_a_time.id) == at_a_time


def test_two_restores_have_names_of_their_own() -> None:
    one, two = journal(), journal()
    assert len({one.new, one.before, two.new, two.before}) == 4
    assert len(one.new) <= 63


def test_one_process_has_the_lock_and_the_kernel_takes_it_back(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    assert not folder.is_locked()
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        with folder.locked("child"):
            os.write(writing, b"x")
            time.sleep(60)
        os._exit(0)
    os.read(reading, 1)
    try:
        assert folder.is_locked()
        with pytest.raises(LockedOut, match="under way"), folder.locked("second"):
            pass
    finally:
        os.kill(child, 9)
        os.waitpid(child, 0)
        os.close(reading)
        os.close(writing)
    assert not folder.is_locked()
    with folder.locked("second"):
        assert folder.is_locked()


def test_an_undo_is_possible_for_its_time_and_once() -> None:
    later = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    earlier = (datetime.now(UTC) - timedelta(seconds=1)).isoformat()
    assert journal(state=FINISHED, keep_until=later).can_undo
    assert not journal(state=FINISHED, keep_until=earlier).can_undo
    assert not journal(state=FINISHED, keep_until=later, undone_at=earlier).can_undo
    assert not journal(state=FINISHED, keep_until=later, dropped_at=earlier).can_undo
    assert not journal(state=FINISHED, keep_until=later, swap=False).can_undo
    assert not journal(state=FINISHED, keep_until=later, kind="undo").can_undo
    assert not journal(state=PREPARING, keep_until=later).can_undo


def test_what_nobody_took_up_stands_in_nobodys_way() -> None:
    assert journal(state=ASKED).is_busy
    old = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
    assert not journal(state=ASKED, created_at=old).is_busy
    assert journal(state=ASKED, created_at=old).is_forgotten
    assert journal(state=PREPARING, created_at=old).is_busy


def test_old_journals_go_but_for_the_newest_and_those_that_somebody_needs(
    tmp_path: Path, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.ARC_BACKUP_DIR = tmp_path
    monkeypatch.setattr(kept, "KEPT", 2)
    folder, kept_times = Folder(tmp_path), times.Journals(tmp_path)
    day = (datetime.now(UTC) + timedelta(days=1)).isoformat()

    def written(number: int, **values: object) -> Journal:
        made = journal(created_at=f"2026-01-{number:02}T00:00:00+00:00", **values)
        folder.write(made)
        return made

    def at_a_time(number: int, **values: object) -> times.Journal:
        made = times.Journal.begin("2026-01-01T00:00:00+00:00", {})
        made.created_at = f"2026-01-{number:02}T00:00:00+00:00"
        for name, value in values.items():
            setattr(made, name, value)
        kept_times.write(made)
        return made

    old = [
        written(1, state=BROKEN),
        written(2, state=DROPPED),
        written(3, state=FINISHED, live_oid=1, keep_until="2026-01-04", dropped_at="2026-01-04"),
        written(4, state=FINISHED, live_oid=1, swap=False, keep_until=day),
        written(4, state=FINISHED, keep_until=day),  # nothing was live before
    ]
    old_times = [at_a_time(5, state=BROKEN), at_a_time(6, state=FINISHED, dropped_at="2026-01-07")]
    needed = [
        written(7, state=WAITING, keep_until=day),
        written(8, state=FINISHED, live_oid=1, keep_until=day),
        written(9, state=FINISHED, live_oid=1, keep_until="2026-01-10"),  # its database is not dropped yet
        written(10, state=EXCHANGING),
        written(20, state=BROKEN),
    ]
    needed_times = [at_a_time(11, state=FINISHED, keep_until=day), at_a_time(21, state=BROKEN)]

    with folder.locked("a restore"):
        assert kept.forget_old() == 0
    assert kept.forget_old() == len(old) + len(old_times)
    assert {one.id for one in folder.all()} == {one.id for one in needed}
    assert {one.id for one in kept_times.all()} == {one.id for one in needed_times}
    assert kept.forget_old() == 0


def test_the_log_of_restores_does_not_grow_for_ever(tmp_path: Path, settings: Any) -> None:
    settings.ARC_BACKUP_DIR = tmp_path
    Folder(tmp_path).make()
    log = tmp_path / "journal" / "log"
    log.write_bytes(b"x" * (LONGEST_LOG + 1))
    launching.spawn("recover", "--help")
    assert log.stat().st_size < LONGEST_LOG // 2
    assert "backup recover --help" in log.read_text()


def test_a_full_disk_keeps_nobody_from_the_lock_nor_from_starting_who_settles(
    tmp_path: Path, settings: Any
) -> None:
    settings.ARC_BACKUP_DIR = tmp_path
    folder = Folder(tmp_path)
    folder.make()
    with (folder.path / "log").open("wb") as log:
        log.truncate(LONGEST_LOG + 1)
    with full_disk():
        with pytest.raises(OSError, match="File too large"):
            folder.write(journal())
        assert list(folder.path.iterdir()) == [folder.path / "log"], "nothing half written is left"
        with folder.locked("recovery"):
            assert folder.is_locked()
        assert launching.spawn("recover", "--help") > 0
