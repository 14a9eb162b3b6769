"""Who waits for whom, as trees. Pure.

Given for each one that waits those that block it: every waiter is placed once, as near to a root as it can
be. A root blocks and waits for nobody. Where nobody of a group is free they wait in a circle (a deadlock,
which PostgreSQL resolves after deadlock_timeout): the first of them stands as its root, marked.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


@dataclass(frozen=True)
class Place(Generic[K]):
    """`depth` 0 is a root. `also`: others that it waits for beside the one above it."""

    key: K
    depth: int
    above: K | None = None
    also: tuple[K, ...] = ()


@dataclass(frozen=True)
class Tree(Generic[K]):
    """Places in the order of a page, the root first. circle: its root waits for one of those below it."""

    places: tuple[Place[K], ...]
    circle: bool = False

    @property
    def root(self) -> K:
        return self.places[0].key

    @property
    def waiting(self) -> list[K]:
        return [place.key for place in self.places if place.depth or self.circle]


def trees(blockers: Mapping[K, Sequence[K]]) -> list[Tree[K]]:
    """The largest first. Everybody of `blockers`, keys and values, stands in exactly one place."""
    holds: dict[K, list[K]] = {}
    for waiter, ahead in blockers.items():
        for blocker in dict.fromkeys(ahead):
            holds.setdefault(blocker, []).append(waiter)
    free = [key for key in holds if not blockers.get(key)]
    placed: dict[K, Place[K]] = {}
    grown = _grow(free, blockers, holds, placed)
    for waiter in blockers:
        if waiter not in placed:
            grown += _grow([waiter], blockers, holds, placed, circle=True)
    return sorted(grown, key=lambda tree: -len(tree.places))


def _grow(
    roots: list[K],
    blockers: Mapping[K, Sequence[K]],
    holds: Mapping[K, list[K]],
    placed: dict[K, Place[K]],
    *,
    circle: bool = False,
) -> list[Tree[K]]:
    below: dict[K, list[K]] = {}
    queue: deque[Place[K]] = deque()
    for root in roots:
        also = tuple(dict.fromkeys(blockers.get(root, ()))) if circle else ()
        queue.append(placed.setdefault(root, Place(root, 0, also=also)))
    while queue:
        here = queue.popleft()
        for waiter in holds.get(here.key, ()):
            if waiter not in placed:
                also = tuple(key for key in dict.fromkeys(blockers[waiter]) if key != here.key)
                placed[waiter] = Place(waiter, here.depth + 1, here.key, also)
                below.setdefault(here.key, []).append(waiter)
                queue.append(placed[waiter])
    return [Tree(tuple(_walk(root, below, placed)), circle) for root in roots]


def _walk(root: K, below: Mapping[K, list[K]], placed: Mapping[K, Place[K]]) -> list[Place[K]]:
    found, stack = [], [root]
    while stack:
        key = stack.pop()
        found.append(placed[key])
        stack += reversed(below.get(key, []))
    return found
