"""What somebody may not do: refused with a sentence, and on record when it was tried."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Any

from django.db import DatabaseError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from arcweb.accounts.querysets import ago
from arcweb.accounts.roles import role_of
from arcweb.events import record
from arcweb.events.models import Event
from arcweb.registry import registered_pages

logger = logging.getLogger(__name__)
KIND = "access.refused"
#: The same user and path is one event in so long, and a user has so many events in it.
QUIET = timedelta(minutes=1)
MOST = 20
LONGEST_PATH = 300  # characters


def refused(request: HttpRequest, exception: Exception) -> HttpResponse:
    """The answer of status 403 (urls.handler403): a page, or a sentence for htmx."""
    user = request.user
    reason = "Nothing was done. Log in as somebody who may do this."
    if user.is_authenticated:
        reason = str(exception) or _reason(user)
        try:
            _record(request, user)
        except DatabaseError:  # the refusal stands, whether or not it can be written down
            logger.exception("A refusal of %s at %s is not on record", user.pk, request.path)
    if getattr(request, "htmx", False):
        return HttpResponse(reason, status=403, content_type="text/plain; charset=utf-8")
    return render(request, "403.html", {"reason": reason}, status=403)


def _reason(user: Any) -> str:
    if user.is_superuser:
        return "Nothing was done. Nobody may do this here, superusers neither."
    role = role_of(user)
    yours = (
        f"Your role, {role}, does not include this" if role else "Your account has no role that includes this"
    )
    return f"Nothing was done. {yours}; somebody with the role administrator can give you another."


def _record(request: HttpRequest, user: Any) -> None:
    path = request.path[:LONGEST_PATH]
    lately = Event.objects.filter(kind=KIND, actor_id=str(user.pk), occurred_at__gt=ago(QUIET))
    known = list(lately.values_list("data__path", "data__method")[:MOST])
    if (path, request.method) in known or len(known) >= MOST:
        return
    data = {"path": path, "method": request.method or ""}
    if permission := _permission(request):
        data["permission"] = permission
    record(KIND, data=data)


def _permission(request: HttpRequest) -> str:
    """What the page asks for, where it says so."""
    match = request.resolver_match
    name = match.url_name if match is not None else None
    return next((page.permission for page in registered_pages() if page.name == name), "")
