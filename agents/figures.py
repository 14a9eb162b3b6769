"""What other apps tell about agents in the list of agents: numbers and last activity. Pure registry.

`memories` may import this app and not the other way round, so it registers its figures here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID


@dataclass(frozen=True)
class Figure:
    """What one app knows of one agent. `text` is the number in words: "12", "about 420,000"."""

    text: str = ""
    last_activity: datetime | None = None
    url: str = ""  #: the list of what is counted


@dataclass(frozen=True)
class Figures:
    """`of` gives the figures of many agents in one query of bounded cost, by id; some may be missing."""

    label: str  #: what is counted, in the plural: "memories"; empty: only activity is known
    permission: str
    of: Callable[[Sequence[UUID]], Mapping[UUID, Figure]]


_figures: list[Figures] = []


def register_figures(figures: Figures) -> None:
    if figures not in _figures:
        _figures.append(figures)


def registered_figures() -> tuple[Figures, ...]:
    return tuple(_figures)
