"""Interleaved timing, and tables of medians and ratios."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.bench.storage.connection import run
from tests.bench.storage.layouts import Connection, P


def milliseconds(action: Callable[P, object], *args: P.args, **kwargs: P.kwargs) -> float:
    start = time.perf_counter()
    action(*args, **kwargs)
    return (time.perf_counter() - start) * 1000


def rotated(keys: Sequence[str], turn: int) -> list[str]:
    """The keys, beginning with another one each turn."""
    return [*keys[turn % len(keys) :], *keys[: turn % len(keys)]]


@dataclass
class Samples:
    """Milliseconds of one case, a list for each round."""

    rounds: list[list[float]] = field(default_factory=list)

    @property
    def median(self) -> float:
        return statistics.median(value for samples in self.rounds for value in samples)

    def against(self, base: Samples) -> str:
        """The ratio of medians and its range over the rounds, for a table's cell."""
        ratios = [
            statistics.median(own) / statistics.median(other)
            for own, other in zip(self.rounds, base.rounds, strict=True)
        ]
        return f"{self.median / base.median:.2f} ({min(ratios):.2f}-{max(ratios):.2f})"


def interleave(
    cases: dict[str, Callable[[], object]], rounds: int, runs: int, *, warm: int = 1
) -> dict[str, Samples]:
    """Every case in every round, `warm` runs untimed and `runs` timed; who begins rotates."""
    samples = {key: Samples() for key in cases}
    keys = list(cases)
    for turn in range(rounds):
        for key in rotated(keys, turn):
            for _ in range(warm):
                cases[key]()
            samples[key].rounds.append([milliseconds(cases[key]) for _ in range(runs)])
    return samples


def table(header: Sequence[str], rows: Sequence[Sequence[str]], title: str) -> None:
    """Prints one Markdown table."""
    print(f"\n**{title}**\n")
    for line in (header, ["---"] * len(header), *rows):
        print("| " + " | ".join(line) + " |")
    sys.stdout.flush()


def ratio_row(title: str, samples: dict[str, Samples], base: str) -> list[str]:
    first = samples[base]
    return [title, f"{first.median:.2f}", *(s.against(first) for key, s in samples.items() if key != base)]


def plan_of(db: Connection, statement: str, parameters: Sequence[Any]) -> str:
    """The nodes of the planner's choice, outermost first."""
    found: list[str] = []

    def walk(node: dict[str, Any]) -> None:
        index = f" {node['Index Name'].rpartition('_')[2]}" if "Index Name" in node else ""
        found.append(node["Node Type"] + index)
        for child in node.get("Plans", []):
            walk(child)

    walk(run(db, f"EXPLAIN (FORMAT JSON) {statement}", parameters)[0][0][0]["Plan"])
    return " < ".join(found)
