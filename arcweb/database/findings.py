"""What the areas of the PostgreSQL rooms have to say to the verdict.

An area registers a Look. The overview asks each one, within its own time limit, and puts the worst first; a
look that could not be asked counts as unknown, never as well.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from arcweb.panels import SEVERITY, Concern


@dataclass(frozen=True)
class Finding(Concern):
    """A concern with its evidence: `since` when, the `statement` that mends it, ready to be typed."""

    since: datetime | None = None
    statement: str = ""
    why: str = ""  #: the threshold and where it comes from


@dataclass(frozen=True)
class Look:
    """One area's part of the verdict; `find` asks the database and returns nothing when all is well."""

    name: str
    title: str  #: "Locks": begins "Locks could not be looked at: …"
    find: Callable[[], Sequence[Finding]]
    url_name: str  #: the page that shows the evidence
    seconds: float = 0.7
    order: int = 100
    permission: str = "database.view_server"


_looks: dict[str, Look] = {}


def register_look(look: Look) -> None:
    """Add a look; a name that another has is a programming error (ValueError)."""
    known = _looks.get(look.name)
    if known is not None and known != look:
        raise ValueError(f"Two looks are named {look.name!r}.")
    _looks[look.name] = look


def looks() -> list[Look]:
    return sorted(_looks.values(), key=lambda look: (look.order, look.name))


def worst_first(found: Sequence[Finding]) -> list[Finding]:
    return sorted(found, key=lambda finding: SEVERITY.index(finding.state))
