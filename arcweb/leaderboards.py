"""Leaderboards that apps keep score on. The Redis room keeps and shows them; neither knows the other.

An app registers a Board, and calls `score` when something happened.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from django.dispatch import Signal

#: Sent with `board`, its name, and `points`, by member.
scored = Signal()


@dataclass(frozen=True)
class Member:
    """What a member is to people."""

    label: str
    url: str = ""


@dataclass(frozen=True)
class Board:
    """A leaderboard of the project.

    `members` tells of ids what they are, in one query of bounded cost; some may be missing, such as what was
    deleted. It is asked for those who have `permission`; others see the ids.
    """

    name: str
    title: str
    about: str  #: a sentence that says what a point is
    permission: str
    members: Callable[[Sequence[str]], Mapping[str, Member]]


_boards: dict[str, Board] = {}


def register_board(board: Board) -> Board:
    """Add a board; a name that another has is a programming error (ValueError)."""
    if _boards.setdefault(board.name, board) != board:
        raise ValueError(f"Two leaderboards are named {board.name!r}.")
    return board


def boards() -> tuple[Board, ...]:
    """Every board, in the order of registration."""
    return tuple(_boards.values())


def score(board: Board, points: Mapping[str, float]) -> None:
    """Give members points. Whatever becomes of it, the caller notices nothing; errors are logged."""
    if points:
        scored.send_robust(sender=Board, board=board.name, points=points)
