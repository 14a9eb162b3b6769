"""The pure parts of a search: fusing two orders, and where the query's words stand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memories.fusion import CONSTANT, fuse
from memories.highlight import BEFORE, PREVIEW, START, STOP, Piece, pieces, preview, spans

RANKING = st.lists(st.integers(0, 30), unique=True)


def test_the_score_is_the_formula_of_its_source() -> None:
    assert CONSTANT == 60
    assert fuse(["a", "b", "c"], ["c", "a"]) == [
        ("a", pytest.approx(1 / 61 + 1 / 62)),
        ("c", pytest.approx(1 / 63 + 1 / 61)),
        ("b", pytest.approx(1 / 62)),
    ]
    assert fuse(["a"], ["b"], constant=0) == [("a", 1.0), ("b", 1.0)], "a tie goes to the first ranking"


@given(RANKING, RANKING)
def test_everything_comes_once_and_one_ranking_alone_keeps_its_order(
    one: list[int], other: list[int]
) -> None:
    fused = fuse(one, other)
    assert sorted(item for item, _ in fused) == sorted({*one, *other})
    assert [score for _, score in fused] == sorted((score for _, score in fused), reverse=True)
    assert [item for item, _ in fuse(one, [])] == one
    assert [item for item, _ in fuse(one, one)] == one


@given(RANKING, RANKING)
def test_what_both_put_higher_stands_higher(one: list[int], other: list[int]) -> None:
    order = [item for item, _ in fuse(one, other)]
    both = [item for item in one if item in other]
    for a in both:
        for b in both:
            if one.index(a) < one.index(b) and other.index(a) < other.index(b):
                assert order.index(a) < order.index(b)


def marked(text: str, *words: str) -> str:
    for word in words:
        text = text.replace(word, f"{START}{word}{STOP}")
    return text


def test_words_are_found_by_the_marks_of_the_database() -> None:
    text = "The worker keeps a lease; leases end."
    found = spans(marked(text, "worker", "leases"), text)
    assert [text[start:end] for start, end in found] == ["worker", "leases"]
    assert pieces(text, found)[:2] == [Piece("The "), Piece("worker", marked=True)]


@pytest.mark.parametrize("wrong", ["another text", f"{START}x{STOP}", "a lease and more"])
def test_a_text_that_does_not_fit_marks_nothing(wrong: str) -> None:
    assert spans(wrong, "a lease") == ()


@given(st.text(), st.lists(st.tuples(st.integers(0, 40), st.integers(1, 9))), st.integers(0, 20))
def test_pieces_put_together_are_the_text(text: str, gaps: list[tuple[int, int]], last: int) -> None:
    found, position = [], 0
    for gap, length in gaps:
        start = position + gap
        position = start + length
        found.append((start, position))
    assert "".join(piece.text for piece in pieces(text, found)) == text
    assert "".join(piece.text for piece in pieces(text, found, 3, last)) == text[3:last]


def test_a_preview_begins_near_the_first_word_and_says_what_is_left_out() -> None:
    text = "padding " * 100 + "the lease " + "more " * 100
    at = text.index("lease")
    shown = preview(text, [(at, at + 5)])
    assert shown[0] == shown[-1] == Piece("…")
    assert Piece("lease", marked=True) in shown
    assert len("".join(piece.text for piece in shown)) <= PREVIEW + 2
    assert shown[1].text.startswith("padding ")
    assert len(shown[1].text) <= BEFORE
    assert preview("short", []) == [Piece("short")]
    assert preview("", []) == []
    assert len("".join(piece.text for piece in preview("x" * 5000, [(4000, 4001)]))) <= PREVIEW + 2
