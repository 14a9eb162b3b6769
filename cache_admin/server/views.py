"""The overview of a role, saving, and emptying the cache."""

from __future__ import annotations

from django.contrib import messages
from django.core.exceptions import BadRequest
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_safe

from arcweb.charts import quantity
from arcweb.events import record
from arcweb.jobs import ledger
from cache_admin import connections, rooms
from cache_admin.asking import Question, confirmed
from cache_admin.connections import Role
from cache_admin.rooms import redis_page
from cache_admin.server import keyspace, overview, saving
from cache_admin.server.capabilities import capabilities
from cache_admin.server.overview import PERIODS

#: Seconds a server may take to make the copy of its process that saves: some milliseconds for each GB.
START_SECONDS = 5.0


@require_safe
@redis_page("Redis")
def redis_overview(request: HttpRequest, role: Role) -> HttpResponse:
    """Every figure of a role, its courses over ?period=, its databases, and the buttons that save."""
    period = request.GET.get("period", "hour")
    if period not in PERIODS:
        raise BadRequest(f"The charts cover one of {', '.join(PERIODS)}, not {period!r}.")
    found = overview.look(role)
    ways = [
        {
            "way": way,
            "why_not": found.capabilities.why_not(way.command) or saving.why_not(way, found.info),
        }
        for way in saving.WAYS.values()
    ]
    return render(
        request,
        "admin/cache_admin/server/overview.html",
        {
            **rooms.context(request, role, "Redis"),
            "found": found,
            "state": found.concerns[0].state if found.concerns else "good" if found.info else "unknown",
            "drawings": overview.drawings(role, period),
            "period": period,
            "periods": [(name, words[0]) for name, words in PERIODS.items()],
            "covers": PERIODS[period][1],
            "ways": ways,
            "flush_why_not": found.capabilities.why_not("FLUSHDB"),
        },
    )


@require_http_methods(["GET", "HEAD", "POST"])
@redis_page("Save")
def redis_save(request: HttpRequest, role: Role) -> HttpResponse:
    """What a way to save costs (?command=), and starting it as a job; SAVE asks for the name of the role."""
    way = saving.WAYS.get(request.GET.get("command", ""))
    if way is None:
        raise BadRequest(f"The data is saved by one of {', '.join(saving.WAYS)}.")
    with connections.client(role) as client:
        info = dict(client.info("persistence"))
        keys = int(client.dbsize())
        # No worker hears of a job through a server that takes no changes, and this is what mends it.
        failed = info.get("rdb_last_bgsave_status") == "err"
        at_once = way.command == "BGSAVE" and failed and not connections.takes_changes(client)
    why_not = capabilities(role).why_not(way.command) or saving.why_not(way, info)
    back = rooms.link("redis_overview", role)
    question = Question(
        way.title,
        f"{way.cost} The database of the {role} role holds {quantity(keys, 'keys')}.",
        role if way.blocks else "",
        way.command,
        back,
        word=way.command,
        tone="warn" if way.blocks else "idle",
        note="This server takes no changes until it has saved: the save begins at once, and the job that "
        "follows it runs when workers can be reached again. Both are events."
        if at_once
        else "A job starts it and follows it to its end: the server's OK is only the beginning. Both are "
        "events.",
        leave="Not now",
        refused=why_not,
    )
    if asks := confirmed(request, role, question):
        return asks
    with transaction.atomic():
        facts = {"command": way.command, "role": role}
        record("redis.save_started", object_type="redis.server", object_id=role, data=facts)
        job = ledger.enqueue(
            saving.JOB_KIND,
            target=f"Redis ({role} role)",
            target_url=back,
            params=facts,
            title=f"{way.command} on the {role} role",
            unique_key=f"{saving.JOB_KIND}:{role}:{way.command}",
        )
    if at_once:
        return _saved_at_once(request, role, way, back)
    messages.success(request, f"{way.command} is on its way; this page follows it to its end.")
    return HttpResponseRedirect(reverse("admin:jobs_job_change", args=[job.pk]))


def _saved_at_once(request: HttpRequest, role: Role, way: saving.Way, back: str) -> HttpResponse:
    try:
        with connections.client(role, timeout=START_SECONDS) as client:
            saving.start(client, way.command)
    except saving.SaveError as error:
        messages.error(request, str(error))
    else:
        messages.success(
            request,
            f"{way.command} has begun. When it ends well the server takes changes again"
            + (", workers and beat are back within a minute" if role == "state" else "")
            + ", and the job saves once more and tells how that ended.",
        )
    return HttpResponseRedirect(back)


@require_http_methods(["GET", "HEAD", "POST"])
@redis_page("Empty the cache")
def redis_flush(request: HttpRequest, role: Role) -> HttpResponse:
    """FLUSHDB on the cache role, after the name of its database was typed."""
    if role != "cache":
        raise Http404("The database of the state role holds tasks, locks and limits: no page empties it.")
    why_not = capabilities(role).why_not("FLUSHDB")
    with connections.client(role) as client:
        keys, database = int(client.dbsize()), keyspace.name(client)
    if not why_not and keyspace.shared_with_state():
        why_not = (
            f"The state role lives in the same database, {database}: its tasks, locks and limits "
            "would go too. "
            "Give it a server of its own in REDIS_STATE_URL."
        )
    held, back = quantity(keys, "keys"), rooms.link("redis_overview", role)
    question = Question(
        "Empty the cache",
        f"This deletes {held}, all that {database} of the cache role ({connections.address(role)}) holds, "
        "what other services wrote there too. It cannot be undone. People stay logged in: their sessions "
        "are read from PostgreSQL again.",
        database,
        f"Delete {held}",
        back,
        word=held,
        tone="bad",
        leave="Keep them",
        refused=why_not,
    )
    if asks := confirmed(request, role, question):
        return asks
    gone = keyspace.flush(role)
    messages.success(request, f"{database} of the cache role is empty. Gone: {quantity(gone, 'keys')}.")
    return HttpResponseRedirect(back)
