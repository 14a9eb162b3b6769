"""What the overview shows of PostgreSQL and Celery, and the verdict on servers and processes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, time, timedelta
from typing import Any

from django.conf import settings
from django.db import connection
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone

from arcweb.charts import ending_now, quantity, size, summary
from arcweb.database.findings import worst_first
from arcweb.database.overview import vitals
from arcweb.database.overview.judging import judge
from arcweb.panels import Card, Chart, Concern, Panel, Row, State, register_panel
from arcweb.samples.series import first_since, levels, newest, rates
from arcweb.servers import ServerState, state_of, states, watched
from arcweb.watches import Outlook, Watch, register_watch

HOUR = timedelta(hours=1)
#: Tasks in a queue above which the workers do not keep up.
MANY_WAITING = 100


# --- PostgreSQL --------------------------------------------------------------------------------


def postgres_concerns(values: Mapping[str, float]) -> tuple[Concern, ...]:
    """What the figures of a sample show, worst first, judged as on the PostgreSQL page they lead to."""
    page = reverse("admin:database_overview")
    return tuple(replace(finding, url=page, action="Show") for finding in worst_first(judge(values)))


def postgres_card(request: HttpRequest) -> Card:
    now = vitals.ask("activity", "database")
    reading = newest(["postgres"]).get("postgres")
    sampled: Mapping[str, float] = {} if reading is None or reading.stale else reading.values
    concerns = postgres_concerns({**sampled, **now})
    midnight = datetime.combine(timezone.now().date(), time.min, tzinfo=timezone.get_default_timezone())
    start = first_since("postgres", midnight)
    course = ending_now(levels("postgres", ["connections"], HOUR)["connections"], now["connections"])
    speed = rates("postgres", ["blocks_hit", "blocks_read", "commits", "rollbacks"], HOUR, 1)
    (_, hit), (_, read) = speed["blocks_hit"][-1], speed["blocks_read"][-1]
    (_, commits), (_, rollbacks) = speed["commits"][-1], speed["rollbacks"][-1]
    hour = "in the last hour, from the samples"
    return Card(
        concerns[0].state if concerns else "good",
        "Needs attention" if concerns else f"Well, version {_version()}",
        size(now["size_bytes"]),
        "" if start is None else f"{_signed(now['size_bytes'] - start.get('size_bytes'))} today",
        (
            Row("Connections", f"{now['connections']:.0f} of {now['max_connections']:.0f}"),
            Row(
                "Cache hit ratio",
                "unknown"
                if not hit and not read
                else quantity(100 * (hit or 0) / ((hit or 0) + (read or 0)), "%"),
                hour,
            ),
            Row(
                "Transactions",
                "unknown" if commits is None else quantity(commits + (rollbacks or 0), "a second"),
                hour,
            ),
            Row("Deadlocks", f"{now['deadlocks']:.0f}", "since the statistics were reset"),
        ),
        Chart("Connections", course, summary=summary(course, "", "in the last hour")),
        concerns,
    )


def _version() -> str:
    """ "18.6": without a query, from the connection's own greeting."""
    return ".".join(str(part) for part in divmod(int(getattr(connection, "pg_version", 0)), 10_000))


def _signed(change: float) -> str:
    return f"{'-' if change < 0 else '+'}{size(abs(change))}"


def look_at_postgres(values: Mapping[str, float] | None) -> Outlook:
    return Outlook() if values is None else Outlook(postgres_concerns(values))


# --- Celery ------------------------------------------------------------------------------------


def waiting_of(values: Mapping[str, float]) -> dict[str, float]:
    """Queue → tasks that wait in it."""
    return {
        name.removeprefix("waiting:"): count for name, count in values.items() if name.startswith("waiting:")
    }


def celery_concerns(values: Mapping[str, float]) -> tuple[Concern, ...]:
    return tuple(
        Concern("warn", f"{count:,.0f} tasks wait in the queue {queue}: more workers would help.")
        for queue, count in waiting_of(values).items()
        if count > MANY_WAITING
    )


def celery_card(request: HttpRequest) -> Card:
    worker, beat = state_of("worker"), state_of("beat")
    reading = newest(["celery"]).get("celery")
    values: Mapping[str, float] = {} if reading is None or reading.stale else reading.values
    concerns = (*_away([worker, beat]), *celery_concerns(values))
    workers: Any = worker.facts.get("workers")
    course = _queued()
    unknown: State = "unknown" if worker.up is None or beat.up is None else "good"
    return Card(
        concerns[0].state if concerns else unknown,
        "Needs attention" if concerns else "Unknown" if unknown == "unknown" else "Well",
        quantity(sum(waiting_of(values).values())) if values else "unknown",
        "tasks wait",
        (
            Row("Worker", worker.word, worker.sentence),
            Row("Beat", beat.word, beat.sentence),
            *([Row("Worker processes", f"{len(workers)}")] if isinstance(workers, (list, tuple)) else []),
            Row("Held by workers", quantity(values["held"]) if "held" in values else "unknown"),
        ),
        Chart("Waiting tasks", course, summary=summary(course, "", "in the last hour")),
        concerns,
        measured_at=reading.read_at if reading else None,
    )


def _queued() -> tuple[tuple[datetime, float | None], ...]:
    """All queues together over the last hour."""
    queues = levels("celery", [f"waiting:{queue}" for queue in settings.CELERY_TASK_QUEUES], HOUR)
    return tuple(
        (
            several[0][0],
            None if any(value is None for _, value in several) else sum(v or 0 for _, v in several),
        )
        for several in zip(*queues.values(), strict=True)
    )


def look_at_celery(values: Mapping[str, float] | None) -> Outlook:
    return Outlook() if values is None else Outlook(celery_concerns(values))


# --- servers and processes ---------------------------------------------------------------------


def _away(found: list[ServerState]) -> tuple[Concern, ...]:
    return tuple(
        Concern("bad", f"{state.title} has been away for {state.lasting}. {state.effect}")
        for state in found
        if state.up is False
    )


def look_at_servers(values: Mapping[str, float] | None) -> Outlook:
    """Who is away, by the prober's memory; nothing where nobody keeps it (commands, tests)."""
    if not watched():
        return Outlook()
    found = states()
    concerns = _away(found)
    doubts = [state for state in found if state.up is None]
    if not concerns and doubts:
        told = " ".join(state.sentence for state in doubts[:1]) or f"{doubts[0].title} was not asked yet."
        return Outlook((Concern("unknown", told),))
    return Outlook(concerns, "" if concerns else "every server and process answers")


PERMISSION = "samples.view_sample"
register_watch(Watch("servers", "", "", look_at_servers, order=10))
register_watch(Watch("postgres", PERMISSION, "postgres", look_at_postgres, order=30))
register_watch(Watch("celery", PERMISSION, "celery", look_at_celery, order=55))
register_panel(
    Panel(
        "postgres",
        "PostgreSQL",
        "overview",
        PERMISSION,
        postgres_card,
        order=30,
        url_name="admin:database_overview",
    )
)
register_panel(Panel("celery", "Celery", "overview", PERMISSION, celery_card, order=60))
