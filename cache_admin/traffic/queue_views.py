"""The page Queues."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from django.contrib import messages
from django.core.exceptions import BadRequest
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_safe
from redis import Redis

from arcweb.charts import Drawing, draw, quantity, summary
from arcweb.events import record
from arcweb.panels import Chart, Row
from cache_admin import connections
from cache_admin.asking import Question, confirmed
from cache_admin.connections import Role
from cache_admin.keys.names import code_of
from cache_admin.rooms import context, link, redis_page
from cache_admin.server.capabilities import capabilities
from cache_admin.traffic import misfits, queues, tally

TITLE = "Queues"
#: Seconds that a message may wait before it is news: beat's own expire after ten.
LONG = 60.0
AFTERWARDS = (
    "no job is lost: PostgreSQL keeps the jobs, and the ledger's reconciler, which runs every ten seconds, "
    "sends those again whose message does not come. What is scheduled comes again at its next time."
)


@dataclass(frozen=True)
class Shown:
    queue: queues.Queue
    rates: queues.Rates | None
    drawing: Drawing
    eventful: bool  #: whether anything waited in the last hour
    messages: list[queues.Message]


@require_safe
@redis_page(TITLE, default="state")
def queue_list(request: HttpRequest, role: Role) -> HttpResponse:
    """Each queue with its course, and what waits first in it."""
    why_not = capabilities(role).why_not("EVAL")
    shown: dict[str, Any] = {**context(request, role, TITLE), "why_not": why_not, "afterwards": AFTERWARDS}
    if role == "state" and not why_not:
        with connections.client(role) as server:
            found, shown["misfits"] = misfits.around(server, lambda without: _read(server, without))
        shown |= found
        waiting = [each.queue for each in shown["queues"] if each.queue.waiting]
        shown["waiting"] = sum(queue.waiting for queue in waiting)
        shown["late"] = [queue for queue in waiting if queue.oldest is not None and queue.oldest > LONG]
    return render(request, "admin/cache_admin/traffic/queues.html", shown)


def _read(server: Redis, without: Collection[str]) -> dict[str, Any]:
    """What the page shows of the queues; `without`: see `misfits.around`."""
    held = None if misfits.HELD in without else queues.held(server)
    before, now = tally.since(), tally.read(server, without)
    uncounted = not any(name.startswith("done:") for name in now)
    return {
        "held": held,
        "tally": {"key": tally.KEY, "code": code_of(tally.KEY.encode())} if uncounted else None,
        "queues": [
            Shown(
                queue,
                tally.rates(queue.name, before, now) if before else None,
                _drawing(queue),
                any(value for _, value in queue.course),
                queues.peek(server, queue.name),
            )
            for queue in queues.queues(server, held, without)
        ],
    }


@require_http_methods(["GET", "HEAD", "POST"])
@redis_page("Empty a queue", default="state")
def queue_purge(request: HttpRequest, role: Role, queue: str) -> HttpResponse:
    """Drop what waits in a queue: GET asks, POST wants its name typed."""
    if queue not in queues.names():
        raise Http404(f"There is no queue of that name; there are {', '.join(queues.names())}.")
    if role != "state":
        raise BadRequest("Celery's queues are in the state role.")
    back = link("redis_queues", role)
    with connections.client(role) as server:
        (waiting, held), wrong = misfits.around(server, lambda without: _counts(server, queue, without))
        question = Question(
            title=f"Empty the queue {queue}",
            sentence=f"Messages that wait now are dropped: {waiting}. But {AFTERWARDS}",
            facts=(
                Row("Waiting", f"{waiting:,}"),
                Row("Held by workers", "unknown" if held is None else f"{held:,}; they stay and go on"),
            ),
            wanted=queue,
            button="Empty this queue",
            back=back,
            refused=" ".join(f"The key {one.name} {one.sentence}" for one in wrong if one.queue == queue),
        )
        if asks := confirmed(request, role, question):
            return asks
        record("redis.queue_purged", label=queue, data={"role": role, "messages": waiting})
        dropped = queues.purge(server, queue)
    tally.count("dropped", queue, dropped)
    messages.success(request, f"{quantity(dropped, 'messages')} of the queue {queue} dropped; {AFTERWARDS}")
    return redirect(back)


def _counts(server: Redis, queue: str, without: Collection[str]) -> tuple[int, int | None]:
    """How many messages wait in the queue, and how many workers hold of all queues (None: not known)."""
    waiting = 0 if queue in without else queues.length(server, queue)
    return waiting, None if misfits.HELD in without else queues.held(server).total


def _drawing(queue: queues.Queue) -> Drawing:
    period = "in the last hour"
    chart = Chart("Waiting", queue.course, "messages", summary(queue.course, "messages", period))
    return draw(chart, from_zero=True)
