"""Who contributes which metrics. Pure: imports no Django."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from arcweb.panels import Server

NAME = re.compile(r"arc_[a-z][a-z0-9_]*")
LABEL = re.compile(r"[a-z][a-z0-9_]*")
#: Values of one metric at most: a label is a role, a queue or a state, never a name that people make.
MOST_VALUES = 100


@dataclass(frozen=True)
class Metric:
    """One metric with all its values: `((labels, value), …)`, the same label names in each.

    name: in the base unit, as Prometheus advises: "arc_backup_age_seconds"; a counter's without "_total".
    Raises ValueError for a name that Prometheus or this project would not have.
    """

    name: str
    help: str
    values: tuple[tuple[Mapping[str, str], float], ...]
    kind: Literal["gauge", "counter"] = "gauge"

    def __post_init__(self) -> None:
        if not NAME.fullmatch(self.name) or self.name.endswith("_total"):
            raise ValueError(f"{self.name!r} is no name of a metric: arc_…, small letters, no _total.")
        if len(self.values) > MOST_VALUES:
            raise ValueError(f"{self.name} has {len(self.values)} values; {MOST_VALUES} is the most.")
        names = {tuple(labels) for labels, _ in self.values}
        if len(names) > 1 or not all(LABEL.fullmatch(label) for labels in names for label in labels):
            raise ValueError(f"The labels of {self.name} differ or are no names: {sorted(names)}.")


@dataclass(frozen=True)
class Source:
    """A function that gives metrics. One that needs "postgres" runs in a read-only transaction of `limit`
    seconds; it is not asked while one of `needs` is away, and when it fails its metrics are missing."""

    name: str
    read: Callable[[], Iterable[Metric]]
    needs: tuple[Server, ...] = ("postgres",)
    limit: float = 0.7


_sources: dict[str, Source] = {}


def register_gauges(
    read: Callable[[], Iterable[Metric]],
    *,
    name: str = "",
    needs: tuple[Server, ...] = ("postgres",),
    limit: float = 0.7,
) -> None:
    """Have `read` asked at every scrape. name: its label in arc_metrics_source_up, by default its function's.

    No text that people or programs wrote belongs into a label. A name that another has is a programming
    error (ValueError).
    """
    source = Source(name or f"{read.__module__}.{read.__qualname__}", read, needs, limit)
    known = _sources.get(source.name)
    if known is not None and known != source:
        raise ValueError(f"Two sources of metrics are named {source.name!r}.")
    _sources[source.name] = source


def sources() -> tuple[Source, ...]:
    """Every source in the order of registration."""
    return tuple(_sources.values())
