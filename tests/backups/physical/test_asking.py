"""What is refused of whoever asks for a restore to a chosen time, its confirmation or its undo."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from arcweb import paused
from arcweb.backups.exceptions import BackupError
from arcweb.backups.physical import doing
from arcweb.backups.physical.journal import BROKEN, CONFIRMED, FINISHED, WAITING, Journal
from arcweb.backups.physical.recovery import journals
from arcweb.events.actors import SYSTEM

ME = {"kind": "system", "id": "", "name": "tests"}
MOMENT = datetime(2026, 11, 23, 7, tzinfo=UTC)
LATER, EARLIER = ((datetime.now(UTC) + timedelta(hours=hours)).isoformat() for hours in (1, -1))


@pytest.fixture(autouse=True)
def copies(settings: Any, tmp_path: Path) -> Path:
    settings.ARC_BACKUP_DIR = tmp_path
    return tmp_path


def written(**values: Any) -> Journal:
    one = Journal.begin(MOMENT.isoformat(), ME)
    for name, value in values.items():
        setattr(one, name, value)
    journals().write(one)
    return one


def stands(one: Journal) -> bool:
    """As it was written."""
    return journals().read(one.id) == one


@pytest.mark.parametrize("state", [CONFIRMED, FINISHED, BROKEN])
def test_what_does_not_wait_is_not_confirmed(state: str) -> None:
    one = written(state=state, keep_until=LATER)
    with pytest.raises(BackupError, match="waits for no confirmation any more"):
        doing.confirm(one.id, ME)
    assert stands(one)
    with pytest.raises(BackupError, match="waits for no confirmation any more"):
        doing.confirm(str(uuid.uuid4()), ME)


def test_what_was_prepared_more_than_a_day_ago_is_not_confirmed() -> None:
    one = written(state=WAITING, keep_until=EARLIER)
    with pytest.raises(BackupError, match="older than a day"):
        doing.confirm(one.id, ME)
    assert stands(one)
    again = written(state=WAITING, keep_until=LATER, trouble="Of an earlier try.")
    doing.confirm(again.id, ME)
    found = journals().read(again.id)
    assert found is not None
    assert (found.state, found.confirmed_by, found.trouble) == (CONFIRMED, ME, "")


@pytest.mark.parametrize(
    "values",
    [
        {"state": WAITING, "keep_until": LATER},
        {"state": FINISHED, "keep_until": EARLIER},
        {"state": FINISHED, "keep_until": LATER, "undone_at": EARLIER},
        {"state": FINISHED, "keep_until": LATER, "dropped_at": EARLIER},
    ],
)
def test_what_cannot_be_undone_is_not_asked_to_be(values: dict[str, str]) -> None:
    one = written(**values)
    with pytest.raises(BackupError, match="cannot be undone any more"):
        doing.ask_undo(one.id, ME)
    with pytest.raises(BackupError, match="no restore to a chosen time that can be undone"):
        doing.undo_last(SYSTEM)
    assert stands(one)


def test_one_is_under_way_at_a_time(copies: Path) -> None:
    done = written(state=FINISHED, keep_until=LATER)
    words = "Another restore is under way"
    with journals().folder.locked("another"), pytest.raises(BackupError, match=words):
        doing.ask_undo(done.id, ME)
    paused.begin(copies, paused.Pause("another", "", ""))
    with pytest.raises(BackupError, match=words):
        doing.ask(MOMENT, ME)
    paused.end(copies)
    assert doing.ask_undo(done.id, ME).undo_asked
    for asked in (lambda: doing.ask(MOMENT, ME), lambda: doing.ask_undo(done.id, ME)):
        with pytest.raises(BackupError, match=words):
            asked()
    assert len(journals().all()) == 1


@pytest.mark.parametrize("state", [WAITING, FINISHED])
def test_a_process_does_nothing_that_nobody_asked_for(state: str) -> None:
    one = written(state=state, keep_until=LATER)
    for id_ in (one.id, str(uuid.uuid4())):
        with pytest.raises(BackupError, match="that waits to be done"):
            doing.take_up(id_)
    assert stands(one)
