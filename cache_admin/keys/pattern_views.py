"""Deletion by pattern: a count by a job, what it found, the typed number, a job that deletes."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone

from arcweb.charts import size
from arcweb.jobs.models import Job
from cache_admin.connections import Role
from cache_admin.keys import kinds, names
from cache_admin.keys.audit import note_pattern
from cache_admin.keys.forms import PatternForm
from cache_admin.rooms import context, link, redis_page
from cache_admin.server.purposes import BREAKS

TITLE = "Delete keys by pattern"


@redis_page(TITLE)
def page(request: HttpRequest, role: Role) -> HttpResponse:
    """?match= fills the form; ?count= is the count of a pattern, ?job= its deletion."""
    if request.method == "POST":
        return _delete(request, role) if request.POST.get("do") == "delete" else _count(request, role)
    shown = {
        **context(request, role, TITLE),
        "form": PatternForm(initial={"pattern": request.GET.get("match")}),
    }
    if "job" in request.GET:
        shown["deletion"] = _job(request, role, request.GET["job"], kinds.DELETE_KEYS)
    elif "count" in request.GET:
        shown |= _counted(_job(request, role, request.GET["count"], kinds.COUNT_KEYS))
        if request.headers.get("HX-Target") == "count":
            return render(request, "admin/cache_admin/keys/_count.html", shown)
    return render(request, "admin/cache_admin/keys/delete_keys.html", shown)


def _job(request: HttpRequest, role: Role, key: str, kind: str) -> Job:
    try:
        wanted = UUID(key)
    except ValueError as error:
        raise Http404("The address names no job.") from error
    job = Job.objects.visible_to(request.user).filter(pk=wanted, kind=kind, params__role=role).first()
    if job is None:
        raise Http404("There is no such job for this role of Redis.")
    return job


def _counted(job: Job) -> dict[str, Any]:
    """What the page says of a count."""
    result = job.result or {}
    pattern = str(job.params["pattern"])
    raw = names.read_pattern(pattern)
    precious = [
        (purpose, keys, BREAKS.get(purpose, "")) for purpose, keys in result.get("precious", {}).items()
    ]
    return {
        "job": job,
        "pattern": pattern,
        "result": result,
        "keys_words": f"{result.get('keys', 0):,}",
        "size": "unknown" if result.get("bytes") is None else size(result["bytes"]),
        "precious": precious,
        "everything": names.matches_all(raw),
        "unanchored": not names.literal_beginning(raw) and not names.matches_all(raw),
        "fresh": bool(job.finished_at and timezone.now() - job.finished_at < kinds.FRESH),
        "form": PatternForm(initial={"pattern": pattern}),
    }


def _count(request: HttpRequest, role: Role) -> HttpResponse:
    form = PatternForm(request.POST)
    if not form.is_valid():
        shown = {**context(request, role, TITLE), "form": form}
        return render(request, "admin/cache_admin/keys/delete_keys.html", shown, status=400)
    job = kinds.ask_count(role, form.cleaned_data["pattern"])
    return redirect(link("redis_delete_keys", role, f"count={job.pk}"))


def _delete(request: HttpRequest, role: Role) -> HttpResponse:
    count = _job(request, role, request.POST.get("count", ""), kinds.COUNT_KEYS)
    found = _counted(count)
    here = link("redis_delete_keys", role, f"count={count.pk}")
    if count.state != Job.State.SUCCEEDED or not found["fresh"]:
        messages.error(request, "Nothing was deleted: the count is not there, or too old. Count again.")
        return redirect(here)
    keys = int(found["result"]["keys"])
    if request.POST.get("typed", "").strip().replace(",", "") != str(keys):
        messages.error(request, f"Nothing was deleted: to confirm, type {keys}, the number of keys.")
        return redirect(here)
    job = kinds.deletion_under_way(role)
    if job is not None:
        messages.error(
            request,
            "Nothing was started: another deletion is under way in this role. Wait for its end, or "
            "cancel it.",
        )
    else:
        note_pattern(role, found["pattern"], keys)
        job = kinds.ask_delete(role, found["pattern"], keys, link("redis_keys", role))
    return redirect(link("redis_delete_keys", role, f"job={job.pk}"))
