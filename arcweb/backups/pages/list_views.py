"""The list of copies, taking one, and looking for copies that the database has not heard of."""

from __future__ import annotations

from django.contrib import messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, QueryDict
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from arcweb.backups import catalogue
from arcweb.backups.exceptions import BackupError
from arcweb.backups.models import Backup, Source
from arcweb.backups.pages import requests
from arcweb.backups.pages.forms import TakeForm
from arcweb.backups.pages.words import Line
from arcweb.backups.standing import standings
from arcweb.backups.telling import drawings
from arcweb.database.rooms import context
from arcweb.jobs.models import Job
from arcweb.keyset import Order
from arcweb.panels import SEVERITY

PAGE_SIZE = 30
#: Sentences of a scan that the page shows; the command shows all.
MOST_TROUBLES = 5
ORDER = Order(Backup, "created_at")
#: The choices of the list, beside "all": what the address says, and the states it means.
CHOICES = {
    "proven": ("Proven", ["verified"]),
    "unproven": ("Not proven", ["written", "hashed", "running"]),
    "bad": ("Bad", ["bad"]),
    "failed": ("Failed", ["failed"]),
}


@require_safe
def backups(request: HttpRequest) -> HttpResponse:
    """?source= and ?state= choose; ?older= and ?newer= are places of the list."""
    stand = standings()
    ours = [one for one in stand if one.source == Source.POSTGRES or one.copies or one.failures or one.bad]
    worst = min(ours, key=lambda one: SEVERITY.index(one.state))
    rows = _chosen(request.GET)
    page = ORDER.page(
        rows,
        PAGE_SIZE,
        after=ORDER.parse(request.GET.get("older", "")),
        before=ORDER.parse(request.GET.get("newer", "")),
    )
    return render(
        request,
        "admin/backups/backups.html",
        context(
            request,
            "Backups",
            standings=stand,
            verdict=worst if worst.state != "good" else ours[0],
            headline=ours[0],
            lines=[Line(row) for row in page.rows],
            page=page,
            chosen_source=request.GET.get("source", ""),
            chosen_state=request.GET.get("state", ""),
            sources=Source.choices,
            choices=[(key, words) for key, (words, _) in CHOICES.items()],
            drawings=drawings(),
            any=bool(page.rows) or Backup.objects.exists(),
            active=list(Job.objects.active().filter(kind__startswith="backup").order_by("queued_at")[:5]),
        ),
    )


@require_http_methods(["GET", "HEAD", "POST"])
def take(request: HttpRequest) -> HttpResponse:
    """Choose what is taken; a job takes it."""
    form = TakeForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        return requests.follow(request, requests.take(form.options()))
    return render(
        request,
        "admin/backups/take.html",
        context(request, "Take a backup", form=form, active=requests.under_way()),
    )


@require_POST
def scan(request: HttpRequest) -> HttpResponse:
    """Reads the manifests in the folder again: small files, no copy is opened."""
    try:
        found = catalogue.scan()
    except BackupError as error:
        messages.error(request, str(error))
        return HttpResponseRedirect(reverse("admin:backups"))
    for sentence in found.troubles[:MOST_TROUBLES]:
        messages.warning(request, sentence)
    messages.success(
        request,
        f"{found.known} known, {len(found.found)} new, {len(found.returned)} came back, "
        f"{len(found.gone)} gone, {len(found.troubles)} in trouble.",
    )
    return HttpResponseRedirect(reverse("admin:backups"))


def _chosen(asked: QueryDict) -> QuerySet[Backup, Backup]:
    rows = Backup.objects.listed().marked().defer("manifest", "check_result")
    if asked.get("source") in Source.values:
        rows = rows.filter(source=asked["source"])
    if (state := str(asked.get("state"))) in CHOICES:
        rows = rows.filter(state__in=CHOICES[state][1])
    return rows
