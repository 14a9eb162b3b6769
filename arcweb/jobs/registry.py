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
#: Takes the params of a job that ends as cancelled.
OnCancel = Callable[[dict[str, Any]], None]
#: Celery's own default; "quick" is for short jobs that must not wait behind long ones.
DEFAULT_QUEUE = "celery"
#: What everybody needs who retries a job, of whatever kind.
RETRY = "jobs.retry_job"


@dataclass(frozen=True)
class Handler:
    kind: str
    label: str  #: what people call such a job: "Ingest document"
    unit: str  #: what its progress counts, in the plural: "chunks"
    max_attempts: int
    run: Run
    queue: str = DEFAULT_QUEUE
    on_cancel: OnCancel | None = None
    permission: str = ""  #: what it takes to start such a job; empty: who may retry jobs may retry it


_handlers: dict[str, Handler] = {}


def handler(
    kind: str,
    *,
    label: str,
    unit: str = "",
    max_attempts: int = 3,
    queue: str = DEFAULT_QUEUE,
    on_cancel: OnCancel | None = None,
    permission: str = "",
) -> Callable[[Run], Run]:
    """Declare the function below to run jobs of `kind`. It must be safe to run twice: a job whose
    worker died is run again from the start, and `max_attempts` bounds how often.

    `queue` is the Celery queue of its messages. `on_cancel(params)` is called once for each job that
    ends as cancelled, also one that never ran or whose worker died, in the transaction that ends it: it
    should be short, and when it raises the job has not ended. It may not rely on the run having begun.

    `permission` ("app_label.codename") is that of the page which starts such jobs: whoever lacks it does
    not retry one that somebody else was permitted to start.
    """

    def register(run: Run) -> Run:
        known = _handlers.get(kind)
        if known is not None and (known.run.__module__, known.run.__qualname__) != (
            run.__module__,
            run.__qualname__,
        ):
            raise ValueError(f"Two handlers claim jobs of kind {kind!r}.")
        _handlers[kind] = Handler(kind, label, unit, max_attempts, run, queue, on_cancel, permission)
        return run

    return register


def find(kind: str) -> Handler | None:
    """The handler of that kind, or None when this version of the program has none."""
    _discover()
    return _handlers.get(kind)


def queue_of(kind: str) -> str:
    """The Celery queue of that kind; the default for one without handler, whose run says what is wrong."""
    found = find(kind)
    return found.queue if found else DEFAULT_QUEUE


def retry_permission(kind: str) -> str:
    """What it takes, besides RETRY, to retry a job of that kind; RETRY itself where that is enough."""
    found = find(kind)
    return (found.permission if found else "") or RETRY


def cancelled(kind: str, params: dict[str, Any]) -> None:
    """Do what the kind asks for when a job of it ends as cancelled; call it in that transaction."""
    found = find(kind)
    if found and found.on_cancel:
        found.on_cancel(params)


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
