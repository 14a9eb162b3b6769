"""One copy: how far it is proven, what it holds, how to restore it."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404, render
from django.urls import NoReverseMatch, reverse
from django.views.decorators.http import require_POST, require_safe

from arcweb.backups.models import Backup
from arcweb.backups.pages import requests
from arcweb.backups.pages.words import Line, ago
from arcweb.backups.places import PlaceError, uploading
from arcweb.charts import size
from arcweb.database.rooms import context
from arcweb.jobs.models import Job
from arcweb.jobs.progress import duration

#: Tables that the page lists, largest first.
MOST_TABLES = 20
#: What other parts of the room offer for a copy: (page, words, permission, states that allow it).
ACTIONS = (
    ("admin:backups_restore", "Restore…", "backups.restore_backup", ("written", "hashed", "verified")),
    (
        "admin:backups_download",
        "Download…",
        "backups.download_backup",
        ("written", "hashed", "verified", "bad"),
    ),
    ("admin:backups_pin", "Pin…", "backups.pin_backup", ("written", "hashed", "verified", "bad")),
    (
        "admin:backups_delete",
        "Delete…",
        "backups.delete_backup",
        ("written", "hashed", "verified", "bad", "failed"),
    ),
)


@require_safe
def backup(request: HttpRequest, backup: UUID) -> HttpResponse:
    one = get_object_or_404(Backup.objects.select_related("parent", "schedule"), pk=backup)
    manifest = one.manifest or {}
    known = manifest.get("tables", [])
    sending = Job.objects.active().filter(kind=uploading.KIND, params__backup=str(one.pk)).first()
    tables = sorted((one for one in known if one.get("rows")), key=lambda table: -table["rows"])
    return render(
        request,
        "admin/backups/backup.html",
        context(
            request,
            str(Line(one).what),
            backup=one,
            line=Line(one),
            steps=_ladder(one),
            check=one.check_result or {},
            manifest=manifest,
            tables=tables[:MOST_TABLES],
            more_tables=max(0, len(tables) - MOST_TABLES),
            empty_tables=len(known) - len(tables),
            rows=sum(table["rows"] for table in tables),
            raw=size(one.raw_bytes) if one.raw_bytes else "",
            active=Job.objects.active().filter(kind=requests.VERIFY, params__backup=str(one.pk)).first(),
            sending=sending,
            # A job that waits for its next try can be sent on at once.
            may_send=uploading.may_be_sent(one) and (sending is None or sending.next_retry_at is not None),
            actions=list(_actions(request, one)),
            may_verify=one.state in ("written", "hashed", "verified", "bad"),
        ),
    )


@require_POST
def verify(request: HttpRequest, backup: UUID) -> HttpResponse:
    one = get_object_or_404(Backup, pk=backup)
    if one.state not in ("written", "hashed", "verified", "bad"):
        raise Http404("There is no copy to verify.")
    return requests.follow(request, requests.verify(one))


@require_POST
def send(request: HttpRequest, backup: UUID) -> HttpResponse:
    """Has the copy put into the S3-compatible store, once more after it failed."""
    one = get_object_or_404(Backup.objects.defer("manifest"), pk=backup)
    try:
        return requests.follow(request, uploading.ask(one))
    except PlaceError as error:
        messages.error(request, str(error))
        return HttpResponseRedirect(reverse("admin:backups_backup", args=[one.pk]))


def _ladder(one: Backup) -> list[dict[str, Any]]:
    """Written → hashed → verified: each with its time, or what is missing."""
    failed, bad = one.state == "failed", one.state == "bad"
    took = f" It took {duration(one.verify_seconds)}." if one.verify_seconds else ""
    return [
        {
            "name": "Written",
            "state": "bad" if failed else "good" if one.finished_at else "idle",
            "at": one.finished_at,
            "says": "Not written."
            if failed
            else f"Whole under its final name {ago(one.finished_at)}."
            if one.finished_at
            else "Under way.",
        },
        {
            "name": "Hashed",
            "state": "good" if one.hashed_at and not bad else "bad" if bad else "idle",
            "at": one.hashed_at,
            "says": f"Read back with the hash of its manifest {ago(one.hashed_at)}."
            if one.hashed_at
            else "Not read back yet.",
        },
        {
            "name": "Proven",
            "state": "bad" if bad else "good" if one.state == "verified" else "idle",
            "at": one.verified_at,
            "says": (f"Found bad {ago(one.checked_at)}." if bad else "")
            + (f" Restored and compared {ago(one.verified_at)}.{took}" if one.verified_at else "")
            or "Never restored: nobody knows whether it can be.",
        },
    ]


def _actions(request: HttpRequest, one: Backup) -> Any:
    for name, words, permission, states in ACTIONS:
        if one.state not in states or not request.user.has_perm(permission):
            continue
        page = f"{name}_redis" if name.endswith("_restore") and one.format == "rdb" else name
        try:
            url = reverse(page, args=[one.pk])
        except NoReverseMatch:
            continue
        yield {"url": url, "words": words, "danger": name.endswith("delete")}
