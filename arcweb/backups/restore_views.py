"""The pages of restores: asked for, followed, confirmed, undone. What is done, a process of its own does."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import psycopg
from django.conf import settings
from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from arcweb.backups import erasures as erased
from arcweb.backups.exceptions import BackupError
from arcweb.backups.models import Backup
from arcweb.backups.restore import asking, erasing, kept, recovery, showing, telling
from arcweb.backups.restore.journal import WAITING, Journal
from arcweb.backups.restore.requests import begin_part, begin_whole, go_on
from arcweb.backups.restore.running import folder, in_words
from arcweb.backups.restore_forms import AGENT, OWN, TABLE, WHOLE, ErasureForm, RestoreForm
from arcweb.database.rooms import context
from arcweb.events import current_actor

#: Restores on their list, and erasures, newest first.
MOST = 50


@require_safe
def restores(request: HttpRequest) -> HttpResponse:
    """Every restore and undo that left a journal."""
    found = folder().all()
    rows: list[dict[str, Any]] = [
        {"journal": one, "state": showing.state_of(one), "created": showing.moment(one.created_at),
         "remaining": showing.remaining(one) if one.can_undo or one.state == WAITING else ""}
        for one in found[:MOST]
    ]  # fmt: skip
    return render(
        request,
        "admin/backups/restore/restores.html",
        context(
            request,
            "Restores",
            rows=rows,
            more=max(0, len(found) - MOST),
            undoable=next((row for row in rows if row["journal"].can_undo), None),
            waiting=next((row for row in rows if row["journal"].state == WAITING), None),
            busy=next((row for row in rows if row["journal"].is_busy), None),
            left=[] if recovery.is_busy() else recovery.unsettled(),
            trouble=next(
                (one.facts["unsettled"] for one in found if one.is_active and "unsettled" in one.facts), ""
            ),
            command=recovery.COMMAND,
        ),
    )


@require_http_methods(["GET", "HEAD", "POST"])
def begin(request: HttpRequest, backup: UUID) -> HttpResponse:
    """What of this copy is to be restored, and where to."""
    one = get_object_or_404(Backup, pk=backup)
    if one.state not in ("written", "hashed", "verified"):
        raise Http404("This copy has no file that could be restored.")
    if one.source != "postgres" or one.format not in ("custom", "plain"):
        messages.warning(request, f"{one} is not restored this way; its own page has the steps.")
        return HttpResponseRedirect(reverse("admin:backups_backup", args=[one.pk]))
    form = RestoreForm(request.POST or None, initial={"what": WHOLE})
    if request.method == "POST" and form.is_valid():
        given = form.cleaned_data
        try:
            if given["what"] in (AGENT, TABLE):
                wanted = {given["what"]: given[given["what"]]}
                job = begin_part(one, **wanted, name=given["as_name"] if given["what"] == AGENT else "")
                messages.success(request, "The job is on its way; this page follows it to its end.")
                return HttpResponseRedirect(reverse("admin:jobs_job_change", args=[job.pk]))
            journal = begin_whole(one, to_database=given["database"] if given["what"] == OWN else "")
            return _page(journal)
        except (BackupError, OSError) as error:
            form.add_error(None, in_words(error))
    return render(
        request,
        "admin/backups/restore/begin.html",
        context(
            request,
            f"Restore {one}",
            backup=one,
            form=form,
            live=asking.live_name(),
            busy=next((row for row in folder().all() if row.is_busy), None),
        ),
        status=400 if form.errors else 200,
    )


@require_safe
def restore(request: HttpRequest, restore: UUID) -> HttpResponse:
    """Steps and what differs; the typed confirmation, or the undo, when it is time for it."""
    journal = _journal(restore)
    undo = next((one for one in folder().all() if one.of == journal.id and one.finished_at), None)
    return render(
        request,
        "admin/backups/restore/restore.html",
        context(
            request,
            f"{'Undo of the restore' if journal.kind == 'undo' else 'Restore'} of {journal.file}",
            **showing.context(journal),
            waits=journal.state == WAITING,
            undo=undo,
            safety=journal.safety,
        ),
    )


@require_safe
def progress(request: HttpRequest, restore: UUID) -> HttpResponse:
    """The live part, for htmx; at the end the whole page is asked for anew, with its buttons."""
    journal = _journal(restore)
    response = showing.progress(request, journal)
    if not showing.context(journal)["polls"]:
        response["HX-Refresh"] = "true"
    return response


@require_POST
def confirm(request: HttpRequest, restore: UUID) -> HttpResponse:
    """The copy takes the place of live, once its name was typed."""
    return _do(request, restore, lambda journal: go_on(
        journal, lambda: asking.confirmed(journal, request.POST.get("typed", ""), _who())
    ))  # fmt: skip


@require_POST
def undo(request: HttpRequest, restore: UUID) -> HttpResponse:
    """The database of before is live again, once live's name was typed."""

    def act(journal: Journal) -> Journal:
        asking.refuse_mistyped(journal.live, request.POST.get("typed", ""))
        return go_on(asking.undo(journal, _who()))

    return _do(request, restore, act)


@require_POST
def discard(request: HttpRequest, restore: UUID) -> HttpResponse:
    """What was prepared is dropped."""

    def act(journal: Journal) -> Journal:
        with folder().locked("discard"):
            # As it stands now: meanwhile it may have been exchanged, and then it can be undone.
            journal = _journal(restore)
            kept.discard(journal)
        messages.success(request, "What was prepared is dropped; the live database was not touched.")
        return journal

    return _do(request, restore, act)


@require_http_methods(["GET", "HEAD", "POST"])
def erasures(request: HttpRequest) -> HttpResponse:
    """Erasures that were ordered, and a form to order one: written down first, then carried out."""
    form = ErasureForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        given = form.cleaned_data
        try:
            said = erasing.erase(given["kind"], given["what"], by=current_actor().id)
        except BackupError as error:
            form.add_error(None, str(error))
        else:
            messages.success(request, " ".join(said) + " Restores of older copies do it again.")
            return HttpResponseRedirect(reverse("admin:backups_erasures"))
    trouble = ""
    try:
        found = erased.read(settings.ARC_BACKUP_DIR)
    except BackupError as error:
        found, trouble = [], str(error)
    rows = [{"erasure": one, "at": showing.moment(one.at), "label": erased.kinds().get(one.kind, one.kind)}
            for one in reversed(found)]  # fmt: skip
    return render(
        request,
        "admin/backups/restore/erasures.html",
        context(
            request, "Erasures", form=form, rows=rows[:MOST], more=max(0, len(rows) - MOST), trouble=trouble
        ),
        status=400 if form.errors else 200,
    )


def _do(request: HttpRequest, restore: UUID, act: Any) -> HttpResponse:
    """Do it, or say why not, and back to the page of the restore."""
    journal = _journal(restore)
    try:
        journal = act(journal) or journal
    except (BackupError, psycopg.Error, OSError) as error:
        # PostgreSQL may refuse to drop a database, and the disk to take the journal.
        messages.error(request, in_words(error))
    return _page(journal)


def _page(journal: Journal) -> HttpResponse:
    return HttpResponseRedirect(reverse("admin:backups_restore_page", args=[journal.id]))


def _journal(restore: UUID) -> Journal:
    journal = folder().read(str(restore))
    if journal is None:
        raise Http404("There is no restore with this id.")
    return journal


def _who() -> dict[str, str]:
    return telling.said_of(current_actor())
