"""A copy for people to keep: the page that makes a link, and the link."""

from __future__ import annotations

from typing import Any, cast
from uuid import UUID

from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.utils.http import content_disposition_header
from django.views.decorators.http import require_http_methods, require_safe

from arcweb.accounts.middleware import current_key_hash
from arcweb.backups import manifest as manifests
from arcweb.backups.exceptions import BackupError
from arcweb.backups.models import Backup, DownloadLink
from arcweb.backups.pages.requests import follow
from arcweb.backups.pages.words import Line
from arcweb.backups.places import fetching
from arcweb.backups.transfer import links, ranges, slots
from arcweb.backups.transfer.sending import Sending
from arcweb.database.rooms import context
from arcweb.jobs.models import Job

WAIT = 30  # seconds until it may be tried again when others download


@require_http_methods(["GET", "HEAD", "POST"])
def ask(request: HttpRequest, backup: UUID) -> HttpResponse:
    """What is about to leave; POST makes a link, or has a copy that is only in the store fetched first."""
    one = get_object_or_404(Backup.objects.present().defer("check_result"), pk=backup)
    here = fetching.local_path(one)
    link, trouble = "", ""
    if request.method == "POST":
        if here is None:
            try:
                with transaction.atomic():
                    return follow(request, fetching.enqueue(one))
            except BackupError as error:
                trouble = str(error)
        else:
            token = links.make(
                one,
                user_id=cast("int", request.user.pk),
                actor_name=request.user.get_username(),
                session_hash=current_key_hash(),
            )
            link = reverse("admin:backups_download_file", args=[token])
    return render(
        request,
        "admin/backups/transfer/download.html",
        context(
            request,
            "Download a backup",
            backup=one,
            line=Line(one),
            here=here is not None,
            link=link,
            trouble=trouble,
            minutes=links.LIFE.seconds // 60,
            manifest_name=manifests.manifest_name(one.file),
            address=request.build_absolute_uri(link) if link else "",
            active=Job.objects.active().filter(kind=fetching.KIND, params__backup=str(one.pk)).first(),
        ),
        status=409 if trouble else 200,
    )


@require_safe
def manifest(request: HttpRequest, backup: UUID) -> HttpResponse:
    """The manifest: what the copy holds, and the commands that restore it."""
    one = get_object_or_404(Backup.objects.present(), pk=backup)
    try:
        data = fetching.manifest_of(one)
    except BackupError as error:
        raise Http404(str(error)) from error
    return _attached(HttpResponse(data, content_type="application/json"), manifests.manifest_name(one.file))


@require_safe
def file(request: HttpRequest, token: str) -> HttpResponseBase:
    """The data file, or the part of it that `Range` asks for; it leaves as it is on the disk."""
    try:
        link = links.find(token, user_id=cast("int", request.user.pk), session_hash=current_key_hash())
    except links.LinkOver as error:
        return _refused(request, str(error), 410)
    path = fetching.local_path(link.backup)
    if path is None:
        return _refused(request, "The file is not on this machine any longer: ask for it again.", 410)
    size, tag = link.backup.bytes or 0, f'"{link.backup.sha256}"'
    try:
        part = ranges.part(_range(request, tag), size)
    except ranges.Unsatisfiable:
        response = HttpResponse(status=416)
        response["Content-Range"] = f"bytes */{size}"
        return response
    start, stop = part or (0, size)
    if request.method == "HEAD":
        return _described(HttpResponse(content_type="application/octet-stream"), link, part, size, tag)
    if not slots.take():
        response = _refused(
            request, "Others download now: each takes a thread of the site. Try again soon.", 503
        )
        response["Retry-After"] = str(WAIT)
        return response
    try:
        links.begin(link)
        body = Sending(path, start, stop, size, link)
    except BaseException as error:
        slots.give_back()
        if isinstance(error, links.LinkOver | OSError):
            return _refused(request, str(error), 410)
        raise
    return _described(
        StreamingHttpResponse(body, content_type="application/octet-stream"), link, part, size, tag
    )


def _range(request: HttpRequest, tag: str) -> str:
    """The header, unless what the sender has is of another file."""
    condition = request.headers.get("If-Range", "").strip()
    return "" if condition and condition != tag else request.headers.get("Range", "")


def _described(
    response: Any, link: DownloadLink, part: tuple[int, int] | None, size: int, tag: str
) -> HttpResponseBase:
    start, stop = part or (0, size)
    if part is not None:
        response.status_code = 206
        response["Content-Range"] = f"bytes {start}-{stop - 1}/{size}"
    response["Content-Length"] = str(stop - start)
    response["Accept-Ranges"] = "bytes"
    response["ETag"] = tag
    return _attached(response, link.backup.file)


def _attached(response: Any, name: str) -> Any:
    # Said, so that nothing on the way compresses it: lengths and parts are those of the file.
    response["Content-Encoding"] = "identity"
    response["Content-Disposition"] = content_disposition_header(as_attachment=True, filename=name)
    return response


def _refused(request: HttpRequest, sentence: str, status: int) -> HttpResponse:
    return render(
        request,
        "admin/backups/transfer/refused.html",
        context(request, "No download", sentence=sentence),
        status=status,
    )
