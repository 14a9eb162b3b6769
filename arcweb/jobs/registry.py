"""Which function runs which kind of job. Apps declare theirs in a module job_handlers.py."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from django.utils.module_loading import autodiscover_modules

if TYPE_CHECKING:
    from arcweb.jobs.context import JobContext

#: Takes the job's context; returns the job's result, a JSON object, or None.
Run = Callable[["JobContext"], "dict[str, Any] | None"]


@dataclass(frozen=True)
class Handler:
    kind: str
    label: str  #: what people call such a job: "Ingest document"
    unit: str  #: what its progress counts, in the plural: "chunks"
    max_attempts: int
    run: Run


_handlers: dict[str, Handler] = {}


def handler(kind: str, *, label: str, unit: str = "", max_attempts: int = 3) -> Callable[[Run], Run]:
    """Declare the function below to run jobs of `kind`. It must be safe to run twice: a job whose
    worker died is run again from the start, and `max_attempts` bounds how often."""

    def register(run: Run) -> Run:
        known = _handlers.get(kind)
        if known is not None and (known.run.__module__, known.run.__qualname__) != (
            run.__module__,
            run.__qualname__,
        ):
            raise ValueError(f"Two handlers claim jobs of kind {kind!r}.")
        _handlers[kind] = Handler(kind, label, unit, max_attempts, run)
        return run

    return register


def find(kind: str) -> Handler | None:
    """The handler of that kind, or None when this version of the program has none."""
    _discover()
    return _handlers.get(kind)


def handlers() -> list[Handler]:
    """All handlers, by label."""
    _discover()
    return sorted(_handlers.values(), key=lambda known: known.label)


def label(kind: str) -> str:
    """What people call jobs of that kind; the kind itself where no handler tells."""
    found = find(kind)
    return found.label if found else kind


@cache
def _discover() -> None:
    # On first use, not at start: handlers may be heavy to import.
    autodiscover_modules("job_handlers")
