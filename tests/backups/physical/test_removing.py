"""What restores to a chosen time take away: folders that they made themselves, whatever a journal says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from arcweb.backups.exceptions import BackupError
from arcweb.backups.physical import exchange
from arcweb.backups.physical.journal import DROPPED, WAITING, Journal
from arcweb.embedded.layout import Layout


@pytest.fixture
def servers(settings: Any, tmp_path: Path) -> Path:
    """The folder of the clusters of a stack of the test's own, which has no server."""
    settings.ARC_BACKUP_DIR = tmp_path / "backups"
    settings.ARC_LAYOUT = Layout(tmp_path / "data")
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
    exchange.discard(one)
    assert not made.exists()
    assert one.state == DROPPED


@pytest.mark.parametrize("name", ["postgres", "../elsewhere", "postgres.restored-1a2b3c4d/../postgres"])
def test_no_other_folder_is_removed_whatever_the_journal_says(servers: Path, name: str) -> None:
    (servers / "postgres.restored-1a2b3c4d").mkdir()
    one, made = waiting(servers, name)
    with pytest.raises(BackupError, match="is no folder of a restore"):
        exchange.discard(one)
    assert made.is_dir()
    assert one.state == WAITING
