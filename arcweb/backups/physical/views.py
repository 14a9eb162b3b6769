"""The pages of restores to a chosen time. What is done, a process of its own does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

from django.conf import settings
from django.contrib import messages
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.template.loader import render_to_string
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from arcweb.backups.exceptions import BackupError
from arcweb.backups.physical import by_hand, doing, replication, timeline
from arcweb.backups.physical.drawing import draw
from arcweb.backups.physical.forms import TimeForm
from arcweb.backups.physical.journal import WAITING, Journal
from arcweb.backups.physical.recovery import journals
from arcweb.backups.restore import showing
from arcweb.backups.restore.telling import said_of
from arcweb.database.rooms import context
from arcweb.events import current_actor

#: Restores on their list, base backups in theirs.
MOST = 30


@require_http_methods(["GET", "HEAD", "POST"])
def point_in_time(request: HttpRequest) -> HttpResponse:
    """The timeline, the moment to go back to, and what was done before."""
    picture = timeline.look(*timeline.now_live())
    form = TimeForm(request.POST or None, initial={"moment": picture.last})
    chosen = picture.last
    if request.method == "POST" and form.is_valid():
        chosen = form.cleaned_data["moment"]
        if settings.ARC_EMBEDDED:
            try:
                return _page(_asked(doing.ask(chosen, said_of(current_actor()))))
            except BackupError as error:
                form.add_error(None, str(error))
            except OSError as error:
                form.add_error(None, _unwritten(error))
        elif picture.best(chosen) is None:
            form.add_error("moment", "That time cannot be reached: see the timeline.")
    rows = [
        {"journal": one, "state": showing.state_of(one), "created": showing.moment(one.created_at)}  # type: ignore[arg-type]
        for one in journals().all()[:MOST]
    ]
    return render(
        request,
        "admin/backups/physical/timeline.html",
        context(
            request,
            "Point in time",
            picture=picture,
            drawing=draw(picture),
            stretches=sorted(picture.stretches, key=lambda one: one.begin, reverse=True)[:MOST],
            form=form,
            embedded=settings.ARC_EMBEDDED,
            # Where there are copies, another process has the password: in compose the worker alone.
            unset="" if picture.stretches else replication.why_not(),
            commands=[] if settings.ARC_EMBEDDED or not chosen else by_hand.commands(picture, chosen),
            chosen=chosen,
            rows=rows,
        ),
        status=400 if form.errors else 200,
    )


@require_safe
def restore(request: HttpRequest, restore: UUID) -> HttpResponse:
    """Steps, what differs; the typed confirmation, or the undo."""
    journal = _journal(restore)
    return render(
        request,
        "admin/backups/physical/restore.html",
        context(
            request,
            "Restore to a chosen time",
            **_shown(journal),
            tables=[one for one in journal.tables if one["live"] != one["new"]],
            alike=sum(one["live"] == one["new"] for one in journal.tables),
            live=settings.POSTGRES_DB,
            waits=journal.state == WAITING,
            sentence=doing.sentence(journal),
        ),
    )


@require_safe
def progress(request: HttpRequest, restore: UUID) -> HttpResponse:
    """The live part, for htmx; at the end the whole page is asked for anew, with its buttons."""
    shown = _shown(_journal(restore))
    # No request context: it is asked for while nobody can be asked who they are.
    response = HttpResponse(render_to_string("admin/backups/restore/_progress.html", shown))
    if not shown["polls"]:
        response["HX-Refresh"] = "true"
    return response


@require_POST
def confirm(request: HttpRequest, restore: UUID) -> HttpResponse:
    """What was prepared takes the place of the live cluster, once the database's name was typed."""

    def act() -> str:
        doing.refuse_mistyped(request.POST.get("typed", ""))
        _asked(doing.confirm(str(restore), said_of(current_actor())))
        return ""

    return _do(request, restore, act)


@require_POST
def undo(request: HttpRequest, restore: UUID) -> HttpResponse:
    """The cluster of before is live again, once the database's name was typed."""

    def act() -> str:
        doing.refuse_mistyped(request.POST.get("typed", ""))
        _asked(doing.ask_undo(str(restore), said_of(current_actor())))
        return ""

    return _do(request, restore, act)


@require_POST
def discard(request: HttpRequest, restore: UUID) -> HttpResponse:
    """What was prepared goes."""

    def act() -> str:
        doing.discard(str(restore))
        return "What was prepared is gone; the live cluster was not touched."

    return _do(request, restore, act)


def _asked(journal: Journal) -> Journal:
    """Has a process started for it."""
    with transaction.atomic():
        doing.enqueue(journal, reverse("admin:backups_time_restore", args=[journal.id]))
    return journal


def _do(request: HttpRequest, restore: UUID, act: Callable[[], str]) -> HttpResponse:
    journal = _journal(restore)
    try:
        if said := act():
            messages.success(request, said)
    except BackupError as error:
        messages.error(request, str(error))
    except OSError as error:
        messages.error(request, _unwritten(error))
    return _page(journal)


def _unwritten(error: OSError) -> str:
    return f"The folder of the backups cannot be written: {error.strerror or error}. Nothing was begun."


def _page(journal: Journal) -> HttpResponse:
    return HttpResponseRedirect(reverse("admin:backups_time_restore", args=[journal.id]))


def _shown(journal: Journal) -> dict[str, Any]:
    """As `arcweb.backups.restore.showing` shows its own."""
    shape, word = showing.state_of(journal)  # type: ignore[arg-type]
    return {
        "journal": journal,
        "lines": showing.lines(journal),  # type: ignore[arg-type]
        "shape": shape,
        "word": word,
        "polls": journal.is_busy,
        "remaining": showing.remaining(journal),  # type: ignore[arg-type]
        "target": showing.moment(journal.target),
        "progress_url": f"{reverse('admin:backups_time_progress', args=[journal.id])}"
        f"?token={showing.token(journal.id)}",
    }


def _journal(id_: UUID) -> Journal:
    journal = journals().read(str(id_))
    if journal is None:
        raise Http404("There is no such restore.")
    return journal
