"""The overview of a role, saving, and emptying the cache."""

from __future__ import annotations

from django.contrib import messages
from django.core.exceptions import BadRequest
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_safe

from arcweb.events import record
from arcweb.jobs import ledger
from cache_admin import connections, rooms
from cache_admin.connections import Role
from cache_admin.rooms import redis_page
from cache_admin.server import keyspace, overview, saving
from cache_admin.server.capabilities import capabilities
from cache_admin.server.overview import PERIODS


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
    why_not = capabilities(role).why_not(way.command) or saving.why_not(way, info)
    typed = request.POST.get("typed", "").strip()
    if request.method == "POST" and not why_not:
        if not way.blocks or typed == role:
            with transaction.atomic():
                facts = {"command": way.command, "role": role}
                record("redis.save_started", object_type="redis.server", object_id=role, data=facts)
                job = ledger.enqueue(
                    saving.JOB_KIND,
                    target=f"Redis ({role} role)",
                    target_url=rooms.link("redis_overview", role),
                    params=facts,
                    title=f"{way.command} on the {role} role",
                    unique_key=f"{saving.JOB_KIND}:{role}:{way.command}",
                )
            messages.success(request, f"{way.command} is on its way; this page follows it to its end.")
            return HttpResponseRedirect(reverse("admin:jobs_job_change", args=[job.pk]))
        messages.error(request, f"Type {role} to confirm that the {role} role may stand still.")
    return render(
        request,
        "admin/cache_admin/server/save.html",
        {
            **rooms.context(request, role, way.title),
            "tabs": [],
            "way": way,
            "why_not": why_not,
            "keys": keys,
            "back": rooms.link("redis_overview", role),
        },
        status=409 if request.method == "POST" and why_not else 200,
    )


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
    if request.method == "POST" and not why_not:
        if request.POST.get("typed", "").strip() == database:
            gone = keyspace.flush(role)
            messages.success(request, f"{database} of the cache role is empty: {gone:,} keys are gone.")
            return HttpResponseRedirect(rooms.link("redis_overview", role))
        messages.error(request, f"Nothing was deleted: type {database} to confirm.")
    return render(
        request,
        "admin/cache_admin/server/flush.html",
        {
            **rooms.context(request, role, "Empty the cache"),
            "tabs": [],
            "why_not": why_not,
            "keys": keys,
            "database": database,
            "back": rooms.link("redis_overview", role),
        },
        status=409 if request.method == "POST" and why_not else 200,
    )
