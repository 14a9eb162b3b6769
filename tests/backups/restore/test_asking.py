"""What is refused of whoever asks for a restore or an undo, and what nobody took up."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from arcweb.backups.exceptions import BackupError, LockedOut
from arcweb.backups.restore import asking, doing, kept
from arcweb.backups.restore.journal import (
    ASKED,
    BROKEN,
    CONFIRMED,
    EXCHANGING,
    FINISHED,
    WAITING,
    Folder,
    Journal,
)

WHO = {"kind": "user", "id": "1", "name": "anna"}


def hours(number: float) -> str:
    return (datetime.now(UTC) + timedelta(hours=number)).isoformat()


@pytest.fixture
def journals(settings: Any, tmp_path: Path) -> Folder:
    settings.ARC_BACKUP_DIR = tmp_path
    return Folder(tmp_path)


def written(journals: Folder, **values: Any) -> Journal:
    one = Journal.begin("restore", live="arc", actor=WHO, file="a copy")
    for name, value in values.items():
        setattr(one, name, value)
    journals.write(one)
    return one


def test_an_older_restore_is_undone_after_the_one_on_top_of_it(journals: Folder) -> None:
    finished: dict[str, Any] = {"state": FINISHED, "live_oid": 1, "keep_until": hours(9)}
    older = written(journals, finished_at=hours(-2), **finished)
    newer = written(journals, finished_at=hours(-1), **finished)
    with pytest.raises(BackupError, match="newer restore stands on top"):
        asking.undo(older, WHO)
    undo = asking.undo(newer, WHO)
    assert (undo.state, undo.of, undo.new, undo.new_oid) == (CONFIRMED, newer.id, newer.before, 1)
    assert journals.read(undo.id) == undo
    with pytest.raises(LockedOut, match="the undo of a copy"):
        asking.undo(newer, WHO)


@pytest.mark.parametrize(
    "values", [{"state": WAITING}, {"state": FINISHED, "dropped_at": hours(-1)}, {"state": BROKEN}]
)
def test_what_cannot_be_undone_is_not_asked_to_be(journals: Folder, values: dict[str, Any]) -> None:
    one = written(journals, keep_until=hours(1), **values)
    with pytest.raises(BackupError, match="cannot be undone"):
        asking.undo(one, WHO)
    assert journals.all() == [one]


@pytest.mark.parametrize("state", [WAITING, FINISHED, EXCHANGING])
def test_a_process_does_nothing_that_nobody_asked_for(journals: Folder, state: str) -> None:
    one = written(journals, state=state)
    for id_ in (one.id, str(uuid.uuid4())):
        with pytest.raises(BackupError, match="that waits to be done"):
            doing.take_up(id_)
    assert journals.all() == [one]


@pytest.mark.parametrize(
    ("values", "then"),
    [
        ({"state": CONFIRMED, "confirmed_at": hours(-9), "new_oid": 7}, WAITING),
        ({"state": ASKED, "created_at": hours(-9)}, BROKEN),
    ],
)
@pytest.mark.parametrize("by", ["the process", "the beat"])
def test_what_nobody_took_up_for_hours_is_not_done(
    journals: Folder, values: dict[str, Any], then: str, by: str
) -> None:
    """Whoever confirmed it expects nothing any more."""
    one = written(journals, **values)
    if by == "the beat":
        assert kept.drop_expired() == []
    else:
        with pytest.raises(BackupError, match="No worker took it up"):
            doing.take_up(one.id)
    found = journals.read(one.id)
    assert found is not None
    assert (found.state, found.trouble, found.confirmed_at) == (then, kept.NOBODY, "")
    assert [step.name for step in found.steps if step.state != "waits"] == []


@pytest.mark.parametrize("state", [CONFIRMED, FINISHED, BROKEN])
def test_only_what_waits_is_discarded(journals: Folder, state: str) -> None:
    one = written(journals, state=state)
    with pytest.raises(BackupError, match="Only what waits for its confirmation"):
        kept.discard(one)
    assert journals.read(one.id) == one
