"""The events page."""

from __future__ import annotations

from django.contrib import admin
from django.http import HttpRequest
from django.template.response import TemplateResponse
from django.views.decorators.http import require_safe

from arcweb.events.forms import EventFilter
from arcweb.events.querysets import Cursor
from arcweb.events.timeline import lines

PAGE_SIZE = 50


@require_safe
def events(request: HttpRequest) -> TemplateResponse:
    """The timeline, newest first, filtered by the query string; `older` and `newer` turn the page."""
    form = EventFilter(request.GET)
    form.is_valid()
    page = form.events().page(
        PAGE_SIZE, older_than=_cursor(request, "older"), newer_than=_cursor(request, "newer")
    )
    filters = request.GET.copy()
    for turning in ("older", "newer"):
        filters.pop(turning, None)
    context = {
        **admin.site.each_context(request),
        "title": "Events",
        "form": form,
        "lines": lines(page.events),
        "page": page,
        "filters": filters.urlencode(),
        "filtered": any(filters.values()),
    }
    return TemplateResponse(request, "admin/events/events.html", context)


def _cursor(request: HttpRequest, name: str) -> Cursor | None:
    try:
        return Cursor.parse(request.GET.get(name, ""))
    except ValueError:
        return None  # a mangled link opens the newest page
