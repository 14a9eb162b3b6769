"""How far the log leads from a base backup, for given files of the archive."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from arcweb.backups.physical import timeline
from arcweb.backups.physical.archive import Archive
from arcweb.backups.physical.segments import Segment
from arcweb.backups.physical.timeline import Point, picture_of
from tests.backups.made import make_copy

START = datetime(2026, 11, 1, tzinfo=UTC)


def hour(number: int) -> datetime:
    return START + timedelta(hours=number)


def point(timeline: int = 1) -> Point:
    """Consistent at hour 5; segments 4 and 5 are inside of it."""
    return Point("i", "f", "base", hour(5), True, timeline, 5 * 2**24 + 1, 4, 5, 2**24)


def archived(*numbers: int) -> Archive:
    """Each segment was archived in the hour of its number."""
    return Archive(Path("/archive"), times={Segment(1, number): hour(number) for number in numbers})


@pytest.mark.parametrize(
    ("numbers", "end", "last", "missing"),
    [
        # What is inside of the copy need not be in the archive.
        ((6, 7), 7, 7, None),
        ((4, 5, 6, 7), 7, 7, None),
        ((), 5, 5, None),
        ((5,), 5, 5, None),
        ((7, 8), 5, 5, 6),
        ((6, 8), 6, 6, 7),
    ],
)
def test_the_log_leads_from_what_is_inside_of_the_copy_to_the_first_hole(
    numbers: tuple[int, ...], end: int, last: int, missing: int | None
) -> None:
    (found,) = picture_of([point()], archived(*numbers), 1).stretches
    assert (found.begin, found.end) == (hour(5), hour(end))
    assert found.last_segment == Segment(1, last).name()
    assert found.missing == (Segment(1, missing).name() if missing else "")


def test_without_an_archive_a_copy_holds_its_own_moment() -> None:
    (found,) = picture_of([point()], None, 1).stretches
    assert (found.begin, found.end, found.missing) == (hour(5), hour(5), "")


def test_what_is_on_another_timeline_is_named_and_begins_nothing() -> None:
    picture = picture_of([point(timeline=2)], archived(6, 7), 1)
    assert (picture.stretches, picture.others) == ([], [2])


@pytest.mark.django_db
def test_a_bad_copy_begins_nothing_and_one_that_says_too_little_is_named(
    settings: Any, tmp_path: Path
) -> None:
    settings.ARC_BACKUP_DIR, settings.ARC_WAL_ARCHIVE_DIR = tmp_path, tmp_path / "log"
    settings.ARC_WAL_ARCHIVE_DIR.mkdir()
    row = make_copy("hashed", format_="base")
    assert row.manifest is not None
    (said,) = timeline.look().unusable
    assert said == f"The manifest of {row.file} does not say what a recovery must know."
    segment = Segment(1, 5).name()
    row.manifest["physical"] = {
        "system": "7", "segment_bytes": 2**24, "first_segment": segment, "last_segment": segment,
        "stopped_at": START.isoformat(), "timeline": 1, "stop_lsn": "0/5000100",
    }  # fmt: skip
    row.save()
    picture = timeline.look()
    assert ([one.point.id for one in picture.stretches], picture.unusable) == ([str(row.pk)], [])
    row.state = "bad"
    row.save()
    assert (timeline.look().stretches, timeline.look().first) == ([], None)
