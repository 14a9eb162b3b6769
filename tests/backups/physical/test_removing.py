"""What restores to a chosen time take away: folders that they made themselves, whatever a journal says."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from arcweb.backups.exceptions import BackupError
from arcweb.backups.physical import removing
from arcweb.backups.physical.journal import DROPPED, FINISHED, PREPARING, WAITING, Journal
from arcweb.backups.physical.recovery import journals
from arcweb.embedded import swap
from arcweb.embedded.layout import Layout
from arcweb.embedded.swap import Swap


@pytest.fixture
def servers(settings: Any, tmp_path: Path) -> Path:
    """The folder of the clusters of a stack of the test's own, which has no server."""
    settings.ARC_BACKUP_DIR = tmp_path / "backups"
    settings.ARC_LAYOUT = Layout(tmp_path / "data")
    settings.ARC_EMBEDDED = True
    found: Path = settings.ARC_LAYOUT.real_servers_dir
    found.mkdir(parents=True)
    return found


def waiting(servers: Path, name: str = "") -> tuple[Journal, Path]:
    one = Journal.begin("2026-11-23T07:00:00+00:00", {})
    one.state, one.new = WAITING, name or one.new
    made = servers / one.new
    made.mkdir()
    return one, made


def test_what_was_prepared_goes(servers: Path) -> None:
    one, made = waiting(servers)
    removing.discard(one)
    assert not made.exists()
    assert one.state == DROPPED


@pytest.mark.parametrize("name", ["postgres", "../elsewhere", "postgres.restored-1a2b3c4d/../postgres"])
def test_no_other_folder_is_removed_whatever_the_journal_says(servers: Path, name: str) -> None:
    (servers / "postgres.restored-1a2b3c4d").mkdir()
    one, made = waiting(servers, name)
    with pytest.raises(BackupError, match="is no folder of a restore"):
        removing.discard(one)
    assert made.is_dir()
    assert one.state == WAITING


@pytest.mark.parametrize("state", [PREPARING, FINISHED, DROPPED])
def test_only_what_waits_is_discarded(servers: Path, state: str) -> None:
    one, made = waiting(servers)
    one.state = state
    with pytest.raises(BackupError, match=f"nothing prepared to discard: the restore is {state}"):
        removing.discard(one)
    assert made.is_dir()


def written(hours: int, **values: Any) -> Journal:
    """Its day is over so many hours from now."""
    one = Journal.begin("2026-11-23T07:00:00+00:00", {})
    one.keep_until = (datetime.now(UTC) + timedelta(hours=hours)).isoformat()
    for name, value in values.items():
        setattr(one, name, value)
    journals().write(one)
    return one


def test_clusters_go_when_their_day_is_over_and_no_others(servers: Path) -> None:
    over, kept = written(1, state=WAITING), written(99, state=WAITING)
    done, undone = written(1, state=FINISHED), written(1, state=FINISHED, undone_at="2026-11-23T08:00:00")
    still = written(99, state=FINISHED)
    asked = Swap("i", "postgres.restored-0123abcd", "postgres.before-0123abcd")
    stay = {"postgres", "wal-archive", kept.new, still.before, undone.before, asked.new}
    go = {over.new, done.before, undone.undone, "postgres.failed-0badc0de", "base-left"}
    for name in stay | go:
        (servers / name).mkdir()
    (servers / asked.new / "PG_VERSION").write_text("18\n")
    layout = Layout(servers.parent)
    layout.run_dir.mkdir(parents=True, exist_ok=True)
    swap.ask(layout, asked)

    def left() -> set[str]:
        return {path.name for path in servers.iterdir()}

    assert removing.sweep() == [], "nobody's day is over"
    assert left() == stay | go
    said = removing.sweep(datetime.now(UTC) + timedelta(hours=2))
    assert left() == (stay | go) - {over.new, done.before, undone.undone}
    assert f"{over.new} was prepared and never confirmed: it is gone." in said
    said = removing.sweep(datetime.now(UTC) + timedelta(days=2))
    assert left() == stay - {undone.before}, "nor what belongs to no restore, a day later"
    assert "base-left belongs to no restore: it is gone." in said
    assert [one.state for one in journals().all() if one.id == over.id] == [DROPPED]
    assert {one.id for one in journals().all() if one.dropped_at} == {over.id, done.id, undone.id}
    assert removing.sweep(datetime.now(UTC) + timedelta(days=2)) == []


def test_where_the_server_is_not_embedded_nothing_is_removed(servers: Path, settings: Any) -> None:
    one = written(1, state=WAITING)
    (servers / one.new).mkdir()
    settings.ARC_EMBEDDED = False
    assert removing.sweep(datetime.now(UTC) + timedelta(days=2)) == []
    assert (servers / one.new).is_dir()
