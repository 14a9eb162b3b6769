"""The events page, and its export."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import BadRequest
from django.http import HttpRequest, HttpResponseBase, HttpResponseRedirect, QueryDict, StreamingHttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.http import content_disposition_header
from django.views.decorators.http import require_POST, require_safe

from arcweb.events import export, live, record
from arcweb.events.forms import EventFilter
from arcweb.events.models import Event
from arcweb.events.querysets import Cursor
from arcweb.events.timeline import days, lines
from arcweb.limited import limited

PAGE_SIZE = 50
#: Filters that the address and an export carry.
FILTERS = ("kind", "actor", "agent", "object", "first", "last")
#: Periods that one click chooses: its name, and how many days before today it begins.
PERIODS = (("Today", 0), ("7 days", 6), ("30 days", 29))


@require_safe
def events(request: HttpRequest) -> TemplateResponse:
    """The timeline, newest first, filtered by the query string; `older` and `newer` turn the page."""
    form = EventFilter(request.GET, Event.objects.kinds())
    form.is_valid()
    page = form.events().page(
        PAGE_SIZE, older_than=_cursor(request, "older"), newer_than=_cursor(request, "newer")
    )
    filters = _filters(request.GET)
    today = timezone.now().date()
    context = {
        **admin.site.each_context(request),
        "title": "Events",
        "form": form,
        "days": days(lines(page.events, request.user)),
        "page": page,
        "filters": filters.urlencode(),
        "chosen": list(filters.items()),
        "periods": [
            (name, (today - timedelta(days=before)).isoformat(), today.isoformat())
            for name, before in PERIODS
        ],
        "turned": page.newer is not None,
        "most_exported": f"{export.MOST_EXPORTED:,}",
    }
    return TemplateResponse(request, "admin/events/events.html", context)


@require_safe
def live_events(request: HttpRequest) -> TemplateResponse:
    """The newest events that pass the filters; asked by its own page with ?after=, those since then."""
    form = EventFilter(request.GET, Event.objects.kinds())
    form.is_valid()
    filters = _filters(request.GET)
    context: dict[str, Any] = {"filters": filters.urlencode(), "chosen": list(filters.items())}
    asked_by_page = bool(request.headers.get("HX-Request"))
    if asked_by_page:
        try:
            tail = live.follow(form.events(), live.Mark.parse(request.GET.get("after", "")))
        except ValueError:
            tail = live.begin(form.events(), 0)
    else:
        tail = live.begin(form.events(), PAGE_SIZE)
        context |= {**admin.site.each_context(request), "title": "Events, live", "form": form}
    context |= {"tail": tail, "lines": lines(tail.events, request.user)}
    template = "admin/events/_newer.html" if asked_by_page else "admin/events/live.html"
    return TemplateResponse(request, template, context, headers={"Cache-Control": "no-store"})


@require_POST
@limited("api", "files")
def export_events(request: HttpRequest) -> HttpResponseBase:
    """A file of the events that pass the filters in the form, as CSV or JSON lines, streamed.

    Names, addresses, labels and notes are in it for those with events.export_personal.
    """
    found = export.FORMATS.get(request.POST.get("format", ""))
    if found is None:
        raise BadRequest(f"Events are exported as one of {', '.join(export.FORMATS)}.")
    content_type, write = found
    form = EventFilter(request.POST, Event.objects.kinds())
    filters = _filters(request.POST)
    back = f"{reverse('admin:events')}?{filters.urlencode()}"
    if not form.is_valid():
        messages.error(request, "Nothing was exported: a filter is wrong. It is marked below.")
        return HttpResponseRedirect(back)
    chosen = form.events().until_now()  # without the event that this export is about to be
    number = chosen.counted(export.MOST_EXPORTED)
    if number > export.MOST_EXPORTED:
        messages.error(
            request,
            f"Nothing was exported: more than {export.MOST_EXPORTED:,} events pass these filters. "
            "Choose a shorter time or a kind, and export in parts.",
        )
        return HttpResponseRedirect(back)
    personal = request.user.has_perm("events.export_personal")
    kind = request.POST["format"]
    record(
        "events.exported",
        object_type="events.event",
        # What was typed as actor or object may be a name: only that it was narrowed is a fact to keep.
        data={"events": number, "format": kind, "personal": personal, "filters": sorted(filters)},
        note=filters.urlencode(),
    )
    written = write(export.records(chosen, personal=personal), personal=personal)
    name = f"events-{timezone.now():%Y-%m-%dT%H%M%SZ}.{kind}"
    return StreamingHttpResponse(
        written,
        content_type=content_type,
        headers={
            "Content-Disposition": content_disposition_header(True, name) or "attachment",
            "Cache-Control": "no-store",
        },
    )


def _filters(values: QueryDict) -> QueryDict:
    """The filters that are set, without the place in the timeline."""
    filters = QueryDict(mutable=True)
    for name in FILTERS:
        if value := values.get(name):
            filters[name] = value
    return filters


def _cursor(request: HttpRequest, name: str) -> Cursor | None:
    try:
        return Cursor.parse(request.GET.get(name, ""))
    except ValueError:
        return None  # a mangled link opens the newest page
