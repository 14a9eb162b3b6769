"""What retention keeps: examples in words, and properties of whatever catalogue there may be."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arcweb.backups.retention import (
    EVIDENCE,
    LAST_PROVEN,
    LEFTOVER,
    TOLERANCE,
    Copy,
    Decision,
    Policy,
    children,
    choose,
    is_last_proven,
)

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
NOTHING = Policy(last=0, daily=0, weekly=0, monthly=0, yearly=0)
quick = settings(max_examples=100, derandomize=True, deadline=None, database=None)


def copy(id_: str, days_ago: float = 0.0, state: str = "verified", **more: object) -> Copy:
    taken = NOW - timedelta(days=days_ago)
    given_: dict[str, object] = {"group": "g", "taken_at": taken, "since": taken} | more
    return Copy(id_, state=state, **given_)  # type: ignore[arg-type]


def kept(decision: Decision) -> set[str]:
    return set(decision.keep)


# --- examples


def test_a_year_of_nights_leaves_the_numbers_that_the_policy_names() -> None:
    nights = [copy(f"{n:03}", n) for n in range(400)]
    found = choose(nights, Policy(last=3, daily=7, weekly=4, monthly=12, yearly=2), NOW)
    # 23 November 2026 is a Monday: the weeks end on the Sundays 1, 8 and 15 days ago; the months on their
    # last days, the first of them 23 days ago.
    assert kept(found) == {
        *("000", "001", "002", "003", "004", "005", "006"),  # days (and the last three)
        *("008", "015"),  # weeks 47 and 46, beside those of 0 and 1 days ago
        *("023", "054", "084", "115", "146", "176", "207", "237", "268", "296", "327"),  # months
    }
    assert found.keep["000"][0] == LAST_PROVEN
    assert "one of the last 3" in found.keep["002"]
    assert "the newest of the week 2026-W47" in found.keep["001"]
    assert found.keep["327"] == ("the newest of the month 2025-12", "the newest of the year 2025")
    assert set(found.why.values()) == {"no rule keeps it"}


def test_days_are_those_of_utc_whatever_zone_a_time_is_told_in() -> None:
    tokyo = timezone(timedelta(hours=9))
    late = replace(copy("late"), taken_at=datetime(2026, 11, 20, 8, 30, tzinfo=tokyo))  # 19th, 23:30 UTC
    early = replace(copy("early"), taken_at=datetime(2026, 11, 20, 0, 30, tzinfo=UTC))
    found = choose([late, early], Policy(last=0, daily=2, weekly=0, monthly=0, yearly=0), NOW)
    assert found.keep["late"] == ("the newest of the day 2026-11-19",)


def test_iso_weeks_reach_over_new_year() -> None:
    december = replace(copy("dec"), taken_at=datetime(2024, 12, 30, tzinfo=UTC))
    january = replace(copy("jan"), taken_at=datetime(2025, 1, 1, tzinfo=UTC))
    found = choose([december, january], Policy(last=0, daily=0, weekly=5, monthly=0, yearly=0), NOW)
    assert found.delete == ("dec",)
    assert "the newest of the week 2025-W01" in found.keep["jan"]


def test_thirty_failures_in_a_row_delete_nothing_proven() -> None:
    bad = [copy(f"bad{n}", n, "bad") for n in range(15)]
    failed = [copy(f"failed{n}", n, "failed") for n in range(15, 30)]
    found = choose([*bad, *failed, copy("old", 40), copy("older", 41)], Policy(1, 0, 0, 0, 0), NOW)
    assert "old" in found.keep
    assert not set(found.delete) & {one.id for one in bad}
    assert set(found.delete) == {one.id for one in failed} | {"older"}
    assert found.keep["bad3"] == (
        "corrupt: kept as evidence until a newer copy is proven, counts for nothing",
    )


def test_a_copy_dated_in_the_future_pushes_out_none_and_stays() -> None:
    odd, today, before = copy("odd", -30_000), copy("today"), copy("before", 1)
    found = choose([odd, today, before], Policy(1, 0, 0, 0, 0), NOW)
    assert found.delete == ("before",)
    assert "future" in found.keep["odd"][0]
    assert is_last_proven("today", [odd, today], NOW)


def test_a_clock_set_back_deletes_nothing_that_is_ahead_of_it() -> None:
    several = [copy(f"{n}", n) for n in range(30)]
    found = choose(several, Policy(1, 0, 0, 0, 0), NOW - timedelta(days=400))
    assert not found.delete


def test_unproven_copies_wait_for_the_next_proof_and_for_a_week() -> None:
    week, month = LEFTOVER.days + 1, EVIDENCE.days + 1
    several = [
        copy("newer", 1, "written"),
        copy("proven", 2),
        copy("fresh", 3, "hashed"),
        copy("stale", week, "written"),
        copy("safety", week + 1, "hashed"),
        copy("rotten", month, "bad"),
        copy("evidence", week, "bad"),
        copy("found", 300, "written", found=True),
        copy("taking", 0, "running"),
        copy("unseen", 300, "away"),
    ]
    found = choose(several, Policy(1, 0, 0, 0, 0), NOW)
    assert set(found.delete) == {"stale", "safety", "rotten"}
    assert found.why["stale"] == "not proven in 8 days, and a newer copy is"
    assert found.keep["found"] == ("found, and judged by nobody yet: verify it, or delete it by hand",)
    without = choose([one for one in several if one.id != "proven"], NOTHING, NOW)
    assert not without.delete  # none is proven: nothing goes


def test_what_is_newer_than_the_newest_proven_copy_stays_however_old_it_is() -> None:
    age = EVIDENCE.days + 10
    several = [copy("proven", age + 1), copy("hashed", age, "hashed"), copy("bad", age, "bad")]
    assert not choose(several, NOTHING, NOW).delete
    assert set(choose([*several, copy("later", 1)], NOTHING, NOW).delete) == {"proven", "hashed", "bad"}


def test_an_incremental_copy_upon_one_that_is_not_seen_pushes_out_none() -> None:
    several = [copy("base", 9, "away"), copy("child", 1, parent="base"), copy("whole", 20)]
    assert not choose(several, NOTHING, NOW).delete
    assert is_last_proven("whole", several, NOW)


def test_a_folder_of_old_copies_that_a_scan_brought_yesterday_is_not_old() -> None:
    brought = copy("old", 900, "written", since=NOW - timedelta(days=1))
    assert not choose([copy("proven"), brought], NOTHING, NOW).delete


def test_what_an_incremental_copy_builds_upon_stays_with_it() -> None:
    base = copy("base", 9)
    one = copy("one", 8, parent="base")
    two = copy("two", 7, parent="one")
    other = copy("other", 10)
    found = choose([base, one, two, other], Policy(1, 0, 0, 0, 0), NOW)
    assert found.delete == ("other",)
    assert found.keep["base"] == ("a kept incremental copy builds upon it",)
    assert children("base", [base, one, two, other]) == ["one", "two"]
    gone = choose([base, one, two, copy("new")], Policy(1, 0, 0, 0, 0), NOW)
    assert gone.delete == ("two", "one", "base")  # never what another builds upon first


def test_an_incremental_copy_upon_a_bad_one_counts_for_nothing() -> None:
    base = copy("base", 9, "bad")
    child = copy("child", 1, parent="base")
    whole = copy("whole", 20)
    found = choose([base, child, whole], Policy(1, 0, 0, 0, 0), NOW)
    assert LAST_PROVEN in found.keep["whole"]
    assert found.keep["child"] == ("what it builds upon is gone or corrupt: it counts for nothing",)
    assert choose([copy("gone", 1, parent="nowhere"), whole], NOTHING, NOW).keep.keys() == {"gone", "whole"}


def test_copies_that_build_upon_each_other_in_a_circle_end() -> None:
    found = choose([copy("a", 1, parent="b"), copy("b", 2, parent="a"), copy("c", 3)], NOTHING, NOW)
    assert kept(found) == {"a", "b", "c"}


def test_the_last_proven_copy_is_known_as_such() -> None:
    base, child, other = copy("base", 9), copy("child", 1, parent="base"), copy("other", group="h")
    assert is_last_proven("base", [base, child, other], NOW)  # the child would not be left
    assert not is_last_proven("child", [base, child, other], NOW)
    assert is_last_proven("other", [base, child, other], NOW)
    assert not is_last_proven("bad", [copy("bad", state="bad")], NOW)


def test_nonsense_is_refused() -> None:
    with pytest.raises(ValueError, match="weekly"):
        Policy(weekly=-1)
    with pytest.raises(ValueError, match="same id"):
        choose([copy("a"), copy("a", 1)], Policy(), NOW)


# --- properties

numbers = st.integers(0, 5)
policies = st.builds(Policy, numbers, numbers, numbers, numbers, numbers)
hours = st.integers(-2000, 20_000)


@st.composite
def catalogues(
    draw: st.DrawFn, states: str = "all", *, future: bool = True, linked: bool = True
) -> list[Copy]:
    made: list[Copy] = []
    for number in range(draw(st.integers(0, 18))):
        state = "verified"
        if states == "all":
            state = draw(
                st.sampled_from(
                    ["verified", "verified", "written", "hashed", "bad", "failed", "running", "away"]
                )
            )
        age = timedelta(hours=draw(hours if future else st.integers(0, 20_000)))
        parent = None
        if linked and draw(st.booleans()) and draw(st.booleans()):
            parent = draw(st.sampled_from([f"c{draw(st.integers(0, 18))}", "lost"]))
        made.append(
            Copy(
                f"c{number}",
                draw(st.sampled_from(["postgres", "redis"])),
                state,  # type: ignore[arg-type]
                NOW - age,
                NOW - timedelta(hours=draw(hours)),
                pinned=draw(st.integers(0, 9)) == 0,
                parent=parent,
                found=draw(st.integers(0, 9)) == 0,
            )
        )
    return made


def chain(one: Copy, known: dict[str, Copy]) -> list[Copy]:
    walked: list[Copy] = []
    while one.parent in known and known[one.parent] not in walked:
        one = known[one.parent]
        walked.append(one)
    return walked


def sound(one: Copy, known: dict[str, Copy]) -> bool:
    """Said another way than the code does: proven, and so is every link down to one that needs no other."""
    upon = one
    for _ in range(len(known) + 1):
        if upon.parent is None:
            return one.state == "verified"
        if upon.parent not in known or known[upon.parent].state in ("bad", "failed", "running", "away"):
            return False
        upon = known[upon.parent]
    return False


@quick
@given(catalogues(), policies, hours)
def test_the_newest_proven_copy_of_every_group_stays_whatever_the_policy_and_the_clock(
    several: list[Copy], policy: Policy, offset: int
) -> None:
    now = NOW + timedelta(hours=offset)
    found = choose(several, policy, now)
    assert set(found.keep) | set(found.delete) == {one.id for one in several}
    assert not set(found.keep) & set(found.delete)
    assert set(found.why) == set(found.delete)
    assert all(found.keep.values())
    known = {one.id: one for one in several}
    for group in {one.group for one in several}:
        proven = [one for one in several if one.group == group and sound(one, known)]
        if proven:
            assert any(one.id in found.keep for one in proven)
        past = [one for one in proven if one.taken_at <= now + TOLERANCE]
        if past:
            assert max(past, key=lambda one: (one.taken_at, one.id)).id in found.keep


@quick
@given(catalogues(), policies)
def test_pinned_copies_stay_with_all_that_kept_ones_build_upon(several: list[Copy], policy: Policy) -> None:
    found = choose(several, policy, NOW)
    known = {one.id: one for one in several}
    for one in several:
        if one.pinned:
            assert "pinned" in found.keep[one.id]
        if one.id in found.keep:
            assert all(upon.id in found.keep for upon in chain(one, known))
    gone: set[str] = set()
    for id_ in found.delete:  # at no moment of the deleting is a copy left without what it builds upon
        gone.add(id_)
        for child in children(id_, several):
            if id_ not in children(child, several):  # but for circles
                assert child in gone


@quick
@given(catalogues(linked=False), policies)
def test_copies_that_count_for_nothing_change_nothing_for_those_that_do(
    several: list[Copy], policy: Policy
) -> None:
    proven = [one for one in several if one.state == "verified"]
    with_all, alone = choose(several, policy, NOW), choose(proven, policy, NOW)
    assert {one.id: with_all.keep.get(one.id) for one in proven} == {
        one.id: alone.keep.get(one.id) for one in proven
    }


@quick
@given(catalogues(), policies, st.randoms(use_true_random=False))
def test_the_order_of_the_catalogue_and_other_groups_do_not_matter(
    several: list[Copy], policy: Policy, random: object
) -> None:
    shuffled = list(several)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    found = choose(several, policy, NOW)
    assert choose(shuffled, policy, NOW).keep == found.keep
    own = [replace(one, parent=None) for one in several]
    together = choose(own, policy, NOW)
    for group in ("postgres", "redis"):
        alone = choose([one for one in own if one.group == group], policy, NOW)
        assert alone.keep == {one.id: together.keep[one.id] for one in own if one.id in alone.keep}
        assert set(alone.delete) == {id_ for id_ in together.delete if id_ in alone.why}


@quick
@given(catalogues(), policies)
def test_a_second_run_finds_nothing_to_do(several: list[Copy], policy: Policy) -> None:
    found = choose(several, policy, NOW)
    left = [one for one in several if one.id in found.keep]
    again = choose(left, policy, NOW)
    assert not again.delete
    assert again.keep == found.keep


@quick
@given(catalogues(), policies, policies)
def test_a_policy_that_keeps_more_of_everything_deletes_nothing_more(
    several: list[Copy], one: Policy, other: Policy
) -> None:
    more = Policy(*(max(getattr(one, name), getattr(other, name)) for name in one.__dataclass_fields__))
    assert set(choose(several, more, NOW).delete) <= set(choose(several, one, NOW).delete)


@quick
@given(
    catalogues("verified", future=False, linked=False),
    st.sampled_from(["daily", "weekly", "monthly", "yearly"]),
    st.integers(1, 5),
)
def test_a_rule_keeps_the_newest_of_just_so_many_periods(several: list[Copy], name: str, number: int) -> None:
    form = {"daily": "%Y-%m-%d", "weekly": "%G-%V", "monthly": "%Y-%m", "yearly": "%Y"}[name]
    bare = [replace(one, pinned=False, group="one") for one in several]
    found = choose(bare, replace(NOTHING, **{name: number}), NOW)
    periods: dict[str, Copy] = {}
    for one in bare:
        mark = one.taken_at.strftime(form)
        periods[mark] = max(periods.get(mark, one), one, key=lambda each: (each.taken_at, each.id))
    newest = sorted(periods, reverse=True)[:number]
    assert kept(found) == {periods[mark].id for mark in newest}


@quick
@given(st.lists(st.integers(1, 40 * 24), min_size=1, max_size=25), policies)
def test_deleting_after_every_copy_comes_to_the_same_as_once(gaps: list[int], policy: Policy) -> None:
    moment, made, left = NOW - timedelta(hours=sum(gaps)), [], []
    for number, gap in enumerate(gaps):
        moment += timedelta(hours=gap)
        new = Copy(f"{number:02}", "g", "verified", moment, moment)
        made.append(new)
        found = choose([*left, new], policy, moment)
        left = [one for one in [*left, new] if one.id in found.keep]
    assert {one.id for one in left} == kept(choose(made, policy, moment))
