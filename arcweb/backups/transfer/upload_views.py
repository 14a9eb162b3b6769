"""The page on which people bring a copy."""

from __future__ import annotations

from django.contrib import messages
from django.core.exceptions import RequestDataTooBig
from django.http import HttpRequest, HttpResponse
from django.http.multipartparser import MultiPartParserError
from django.http.request import UnreadablePostError
from django.shortcuts import render
from django.views.decorators.csrf import csrf_exempt, csrf_protect
from django.views.decorators.http import require_http_methods

from arcweb.backups.models import Backup
from arcweb.backups.pages.requests import follow
from arcweb.backups.pages.words import Line
from arcweb.backups.transfer import receiving, slots, spooling
from arcweb.backups.transfer.spooling import DATA, MANIFEST, Spooled, SpoolHandler
from arcweb.charts import size
from arcweb.database.rooms import context
from arcweb.jobs.models import Job

#: Copies that were found or brought, on the page.
MOST = 10


@csrf_exempt  # the token stands in the form, which is read only when its files have where to go
@require_http_methods(["GET", "HEAD", "POST"])
def upload(request: HttpRequest) -> HttpResponse:
    """Takes a copy with its manifest, or a dump alone; a job looks at it."""
    if request.method != "POST":
        return _form(request)
    length = int(request.META.get("CONTENT_LENGTH") or 0)
    if trouble := spooling.trouble(length):
        return _form(request, trouble, 413)
    if not slots.take():
        return _form(request, "Others send or fetch copies now. Try again when they are done.", 503)
    handler = SpoolHandler(request)
    request.upload_handlers = [handler]
    try:
        return _received(request, handler)
    except (MultiPartParserError, UnreadablePostError, RequestDataTooBig):
        handler.discard()
        return _form(request, "The upload did not come whole: try again.", 400)
    except BaseException:
        handler.discard()
        raise
    finally:
        slots.give_back()


def _received(request: HttpRequest, handler: SpoolHandler) -> HttpResponse:
    kept = False

    @csrf_protect
    def take(request: HttpRequest) -> HttpResponse:
        nonlocal kept
        data, beside = request.FILES.get(DATA), request.FILES.get(MANIFEST)
        if handler.why:
            return _form(request, handler.why, 413)
        if not isinstance(data, Spooled) or not data.size:
            return _form(request, "Choose the file of a copy; it is empty, or none was sent.", 400)
        job = receiving.enqueue(
            data.path.name,
            beside.path.name if isinstance(beside, Spooled) and beside.size else "",
            data.name or "a file",
            data.size,
        )
        kept = True
        return follow(request, job)

    response: HttpResponse = take(request)
    if not kept:
        handler.discard()
    return response


def _form(request: HttpRequest, trouble: str = "", status: int = 200) -> HttpResponse:
    if trouble:
        messages.error(request, f"Nothing was taken. {trouble}")
    found = Backup.objects.present().filter(trigger=Backup.Trigger.FOUND)
    found = found.marked().defer("manifest", "check_result")
    return render(
        request,
        "admin/backups/transfer/upload.html",
        context(
            request,
            "Upload a backup",
            most=size(spooling.largest()),
            trouble=trouble,
            found=[Line(one) for one in found.newest_first()[:MOST]],
            active=list(Job.objects.active().filter(kind=receiving.KIND).order_by("queued_at")[:5]),
        ),
        status=status,
    )
