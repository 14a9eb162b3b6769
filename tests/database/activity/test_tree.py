"""Blocking trees from edges alone."""

from __future__ import annotations

from arcweb.database.activity.tree import Place, trees


def drawn(blockers: dict[int, list[int]]) -> list[list[tuple[int, int]]]:
    return [[(place.key, place.depth) for place in tree.places] for tree in trees(blockers)]


def test_nobody_waits() -> None:
    assert trees({}) == []


def test_a_chain_and_a_queue_stand_below_their_root() -> None:
    # 2 waits for 1; 3 for 2; 4 waits for 1 and stands behind 2 in the queue.
    assert drawn({2: [1], 3: [2], 4: [1, 2]}) == [[(1, 0), (2, 1), (3, 2), (4, 1)]]
    assert trees({2: [1], 4: [1, 2]})[0].places[2] == Place(4, 1, 1, (2,))


def test_two_roots_and_a_waiter_of_both_stands_once() -> None:
    assert drawn({3: [1], 4: [1, 2], 5: [1]}) == [[(1, 0), (3, 1), (4, 1), (5, 1)], [(2, 0)]]


def test_a_circle_has_a_root_that_is_marked() -> None:
    (tree,) = trees({1: [2], 2: [3], 3: [1], 4: [1]})
    assert tree.circle
    assert [(place.key, place.depth) for place in tree.places] == [(1, 0), (3, 1), (2, 2), (4, 1)]
    assert set(tree.waiting) == {1, 2, 3, 4}


def test_a_prepared_transaction_is_a_root_like_any() -> None:
    assert [tree.root for tree in trees({7: ["gid"], 8: [7]})] == ["gid"]


def test_a_chain_of_a_thousand() -> None:
    (tree,) = trees({n: [n - 1] for n in range(1, 1001)})
    assert len(tree.places) == 1001
    assert tree.places[-1].depth == 1000
