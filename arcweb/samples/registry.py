"""Who takes which figures. Pure: imports no Django.

An app registers its samplers in a module samplers.py, which is imported when Django is ready, in the
web as in the workers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from arcweb.panels import Server


@dataclass(frozen=True)
class Sampler:
    """A source of figures.

    `take` returns name → number: a level ("clients") or a counter that only grows ("hits"), whatever the
    source has at that moment; names may come and go. One that needs "postgres" runs in a transaction that
    is rolled back, with a statement timeout of `limit` seconds; for other servers `take` must have a
    deadline of its own, as the clients of `cache_admin.connections` have. It may raise: then the source
    has a gap.
    """

    source: str  #: "redis-cache"
    take: Callable[[], Mapping[str, float]]
    needs: tuple[Server, ...] = ("postgres",)
    limit: float = 2.0  #: seconds


_samplers: dict[str, Sampler] = {}


def register_sampler(sampler: Sampler) -> None:
    """Add a source; a name that another has is a programming error (ValueError)."""
    known = _samplers.get(sampler.source)
    if known is not None and known != sampler:
        raise ValueError(f"Two samplers are named {sampler.source!r}.")
    _samplers[sampler.source] = sampler


def samplers() -> tuple[Sampler, ...]:
    """Every source in the order of registration."""
    return tuple(_samplers.values())
