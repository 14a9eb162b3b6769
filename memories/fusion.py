"""Reciprocal rank fusion: one order out of several. Pure."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import TypeVar

T = TypeVar("T", bound=Hashable)

#: The constant k of the formula, as its authors chose it: it damps how much the very first places weigh.
CONSTANT = 60


def fuse(*rankings: Sequence[T], constant: int = CONSTANT) -> list[tuple[T, float]]:
    """(item, score) of everything in any of the rankings (best first), highest score first.

    score(d) = sum over rankings of 1 / (constant + place of d), places from 1; a ranking that lacks d
    adds nothing. Ties go to the better place in the first ranking, then in the second, and so on.
    Source: G. V. Cormack, C. L. A. Clarke, S. Büttcher, "Reciprocal rank fusion outperforms Condorcet
    and individual rank learning methods", SIGIR 2009, pages 758 and 759.
    """
    places = [{item: place for place, item in reversed(list(enumerate(one, 1)))} for one in rankings]
    scores: dict[T, float] = {}
    for place_of in places:
        for item, place in place_of.items():
            scores[item] = scores.get(item, 0.0) + 1 / (constant + place)

    def order(item: T) -> tuple[float, ...]:
        return (-scores[item], *(place_of.get(item, float("inf")) for place_of in places))

    return [(item, scores[item]) for item in sorted(scores, key=order)]
