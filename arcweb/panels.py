"""Cards and panels: parts of a page that load, fail and refresh by themselves. Pure: imports no Django.

An app registers a Panel in its admin.py. The site asks for its content in a request of its own
(`arcweb.panel_views`), with the panel's time limit, so that a slow one costs only itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

#: How something stands. A word and a shape on the page, never a colour alone.
State = Literal["good", "warn", "bad", "idle", "unknown"]
#: Worst first: the order in which concerns are named.
SEVERITY: tuple[State, ...] = ("bad", "warn", "unknown", "good", "idle")
#: Where a panel stands: on the overview, or on the page of one agent.
Place = Literal["overview", "agent"]
#: A server or process that a panel needs; `arcweb.servers` knows how each stands.
Server = Literal["postgres", "redis-cache", "redis-state", "worker", "beat"]


@dataclass(frozen=True)
class Row:
    """A line of a card: "pending … 378". `hint` says where the number comes from."""

    label: str
    value: str
    hint: str = ""
    url: str = ""
    mono: bool = False


@dataclass(frozen=True)
class Chart:
    """A small line chart: (time, value) points in order of time; a value of None is a gap.

    `summary` is its text alternative, a sentence with the last value and the range.
    """

    title: str
    points: tuple[tuple[datetime, float | None], ...]
    unit: str = ""
    summary: str = ""


@dataclass(frozen=True)
class Concern:
    """Something to do, or to know: the verdict of the overview names the worst one first.

    A full sentence: "38 memories failed to embed; search misses them."; `url` and `action` lead to it.
    """

    state: State
    sentence: str
    url: str = ""
    action: str = ""  #: the words of the link: "Show them"


@dataclass(frozen=True)
class Card:
    """What a panel shows. `template` (with `context`) replaces the rows where a list says more."""

    state: State
    word: str  #: the state in a word or two: "Well", "38 failed"
    big: str = ""
    unit: str = ""
    rows: tuple[Row, ...] = ()
    chart: Chart | None = None
    concerns: tuple[Concern, ...] = ()
    measured_at: datetime | None = None  #: when the numbers were taken, if that was not just now
    template: str = ""
    context: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Panel:
    """A card of the overview or of an agent's page.

    `content` takes the request, and the agent's id (UUID) for place "agent". It runs with a statement
    timeout of `limit` seconds, in a transaction that is rolled back if it writes. While one of `needs`
    is away it is not asked: the card says so.
    """

    name: str  #: in the address: /panels/<name>/
    title: str
    place: Place
    permission: str
    content: Callable[..., Card]
    order: int = 100
    needs: tuple[Server, ...] = ("postgres",)
    limit: float = 1.5  #: seconds
    refresh: int = 10  #: seconds
    url_name: str = ""  #: the page that the title leads to: "admin:memories_memory_changelist"
    wide: bool = False  #: as wide as two cards (lists, timelines)


_panels: dict[str, Panel] = {}


def register_panel(panel: Panel) -> None:
    """Add a panel; a name that another has is a programming error (ValueError)."""
    known = _panels.get(panel.name)
    if known is not None and known != panel:
        raise ValueError(f"Two panels are named {panel.name!r}.")
    _panels[panel.name] = panel


def panels(place: Place) -> list[Panel]:
    """Those of a place, in their order."""
    return sorted(
        (panel for panel in _panels.values() if panel.place == place),
        key=lambda panel: (panel.order, panel.title),
    )


def find_panel(name: str) -> Panel | None:
    return _panels.get(name)
