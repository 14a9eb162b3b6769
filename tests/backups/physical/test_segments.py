"""Names of WAL files, lines of descent, holes, and what may be pruned."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arcweb.backups.physical import segments
from arcweb.backups.physical.segments import Segment, Step

quick = settings(derandomize=True, deadline=None, database=None)
SIZES = (2**20, 16 * 2**20, 2**30)
HISTORY = "1\t0/3000110\tno recovery target specified\n\n2\t0/70001C8\tbefore 2026-11-23 07:00:00+00\n"


@quick
@given(st.integers(1, 2**32 - 1), st.integers(0, 2**32), st.sampled_from(SIZES))
def test_a_name_leads_back_to_its_segment(timeline: int, number: int, size: int) -> None:
    one = Segment(timeline, number)
    assert segments.parse(one.name(size), size) == one
    assert segments.parse(f"{one.name(size)}.gz", size) == one


def test_names_count_as_postgresql_counts_them() -> None:
    assert Segment(1, 255).name() == "0000000100000000000000FF"
    assert Segment(1, 256).name() == "000000010000000100000000"
    assert Segment(0xA, 1).name(2**30) == "0000000A0000000000000001"


@pytest.mark.parametrize(
    "name",
    [
        "00000002.history", "0000000100000000000000FF.partial", ".0000000100000000000000FF.part",
        "0000000100000000000000FF.00000028.backup", "00000001000000000000FF00", "backup.tar",
        "000000000000000000000001", "../000000010000000000000001",
    ],
)  # fmt: skip
def test_other_files_are_no_segments(name: str) -> None:
    assert segments.parse(name) is None


def test_a_position_is_read_and_written() -> None:
    assert segments.lsn("16/B374D848") == 0x16B374D848


def test_a_line_of_descent_changes_files_where_a_timeline_was_left() -> None:
    steps = segments.descent(3, HISTORY)
    assert steps == [Step(1, 0x3000110), Step(2, 0x70001C8), Step(3, None)]
    assert [segments.timeline_at(steps, number) for number in (1, 2, 3, 6, 7, 8)] == [1, 1, 2, 2, 3, 3]
    assert segments.on_the_way(steps, 1, 0x3000110)
    assert not segments.on_the_way(steps, 1, 0x3000111)  # what timeline 1 wrote after it was left
    assert segments.on_the_way(steps, 3, 2**60)
    assert not segments.on_the_way(steps, 4, 1)


def test_a_hole_ends_what_can_be_reached_and_is_named() -> None:
    steps = segments.descent(1, "")
    present = {Segment(1, number) for number in (2, 3, 5, 6)}
    assert segments.cover(steps, 2, present) == segments.Cover(2, Segment(1, 3), Segment(1, 4).name())
    # What another timeline wrote beyond is none of this line's.
    strange = {Segment(1, 2), Segment(2, 9)}
    assert segments.cover(steps, 2, strange) == segments.Cover(2, Segment(1, 2), "")
    assert segments.cover(steps, 5, present) == segments.Cover(5, Segment(1, 6), "")
    assert segments.cover(steps, 4, present) == segments.Cover(4, None, Segment(1, 4).name())
    assert segments.holes(steps, present) == [Segment(1, 4).name()]


def test_segments_of_an_abandoned_timeline_fill_no_hole() -> None:
    steps = segments.descent(2, "1\t0/3000110\tx\n")
    present = {Segment(1, 1), Segment(1, 2), Segment(1, 3), Segment(1, 4), Segment(2, 4)}
    assert segments.cover(steps, 1, present).missing == Segment(2, 3).name()
    assert segments.cover(steps, 1, present | {Segment(2, 3)}).last == Segment(2, 4)
    # What timeline 1 wrote after it was left is nothing that could be reached.
    assert segments.cover(steps, 1, present - {Segment(2, 4)}).missing == ""


@quick
@given(st.sets(st.integers(0, 40)), st.integers(0, 40), st.integers(0, 40))
def test_pruning_never_takes_what_a_kept_base_backup_needs(
    numbers: set[int], oldest: int, timeline: int
) -> None:
    names = [Segment(timeline + 1, number).name() + ".gz" for number in numbers]
    kept = set(names) - set(segments.unneeded([*names, "00000002.history.gz"], oldest))
    assert {one.number for name in kept if (one := segments.parse(name))} == {
        number for number in numbers if number >= oldest
    }


def test_without_a_base_backup_no_segment_is_of_use_but_history_stays() -> None:
    names = ["000000010000000000000001.gz", "00000002.history.gz", "notes.txt"]
    assert segments.unneeded(names, None) == names[:1]
    label = "000000010000000000000001.00000028.backup.gz"
    assert segments.unneeded([label], 2) == [label]
    assert segments.unneeded([label], 1) == []
