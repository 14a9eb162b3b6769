"""What the panels of the overview are made of: figures with their source, and the words in them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from arcweb.panels import State
from arcweb.servers import duration

UNKNOWN = "unknown"
HIDDEN = "not visible to this role"
#: 2^31, at which identifiers of transactions and multixacts wrap around.
WRAP = 2**31


@dataclass(frozen=True)
class Figure:
    """A line of a panel. `source`: the view and column, or what else it was measured by."""

    label: str
    value: str
    source: str
    note: str = ""
    state: State = "idle"


@dataclass(frozen=True)
class Slice:
    """A part of the bar of connections, in percent of its length."""

    name: str
    start: float
    width: float


@dataclass(frozen=True)
class Shown:
    figures: Sequence[Figure]
    slices: Sequence[Slice] = ()
    since: datetime | None = None  #: what counters count from


@dataclass(frozen=True)
class Group:
    """A panel. `ask` runs in a part of its own; `refresh`: seconds between two looks of an open page."""

    name: str
    title: str
    ask: Callable[[], Shown]
    what: str  #: begins the sentence of its failure
    refresh: int = 10
    url_name: str = ""  #: the page that shows more


def lasting(seconds: Any) -> str:
    return HIDDEN if seconds is None else duration(float(seconds)) if seconds else "none"


def at(words: str, moment: datetime | None) -> str:
    return "" if moment is None else f"{words} {moment:%Y-%m-%d %H:%M} UTC".lstrip()


def since_words(moment: datetime | None) -> str:
    """What counters count from; NULL where statistics were never reset."""
    return "since statistics began" if moment is None else f"since {moment:%Y-%m-%d %H:%M} UTC"
