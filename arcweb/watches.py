"""What the verdict of the overview looks at. Pure: imports no Django.

A room registers a Watch in its cards.py. The verdict asks every watch each time it is shown, so a watch
looks only at what it is handed: the newest samples, and how the servers stand.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from arcweb.panels import Concern


@dataclass(frozen=True)
class Outlook:
    """What a watch has to say: what to do, and in a few words what is well ("14 agents are known")."""

    concerns: tuple[Concern, ...] = ()
    well: str = ""


@dataclass(frozen=True)
class Watch:
    """One room's part of the verdict, for those who have `permission` (empty: everybody in the admin).

    `look` takes the newest values of `source`, or None where there is no fresh sample of it.
    """

    name: str
    permission: str
    source: str  #: of the samples; "": it looks at something that costs nothing
    look: Callable[[Mapping[str, float] | None], Outlook]
    order: int = 100


_watches: dict[str, Watch] = {}


def register_watch(watch: Watch) -> None:
    """Add a watch; a name that another has is a programming error (ValueError)."""
    known = _watches.get(watch.name)
    if known is not None and known != watch:
        raise ValueError(f"Two watches are named {watch.name!r}.")
    _watches[watch.name] = watch


def watches() -> list[Watch]:
    return sorted(_watches.values(), key=lambda watch: (watch.order, watch.name))
