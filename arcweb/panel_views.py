"""Serves every registered panel: as a fragment to htmx, as a page to a browser without JavaScript.

A panel costs at most its time limit and never fails the page it stands on: whatever happens, the answer
is a card, if need be one that says why it is empty.
"""

from __future__ import annotations

import logging
from datetime import datetime
from typing import Any
from uuid import UUID

from django.contrib.admin import AdminSite, site
from django.core.exceptions import PermissionDenied
from django.db import InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.template.loader import render_to_string
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.safestring import SafeString
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from arcweb.charts import Drawing, draw
from arcweb.panels import Card, Panel, Place, find_panel, panels
from arcweb.postgres import TooSlow, limited
from arcweb.servers import away
from arcweb.verdict import VERDICT

logger = logging.getLogger(__name__)


def panel_urls(admin_site: AdminSite) -> list[URLPattern]:
    """The addresses of all panels, for the admin site."""
    return [
        path("panels/<slug:name>/", admin_site.admin_view(overview_panel), name="panel"),
        path(
            "agents/agent/<uuid:agent>/panels/<slug:name>/",
            admin_site.admin_view(agent_panel),
            name="agent_panel",
        ),
    ]


def url_of(panel: Panel, agent: UUID | None = None) -> str:
    """Where a panel's content is."""
    if panel.place == "overview":
        return reverse("admin:panel", args=[panel.name])
    return reverse("admin:agent_panel", args=[agent, panel.name])


def permitted(request: HttpRequest, place: Place) -> list[Panel]:
    """The panels of a place that this request's user may see, in their order."""
    return [panel for panel in panels(place) if may_see(request, panel)]


def placed(request: HttpRequest, place: Place, agent: UUID | None = None) -> list[dict[str, Any]]:
    """The contexts of `admin/panels/panel.html` for the permitted panels of a place: `panel` and `url`."""
    return [{"panel": panel, "url": url_of(panel, agent)} for panel in permitted(request, place)]


def may_see(request: HttpRequest, panel: Panel) -> bool:
    return not panel.permission or request.user.has_perm(panel.permission)


@never_cache
@require_safe
def overview_panel(request: HttpRequest, name: str) -> HttpResponse:
    """A panel of the overview."""
    return _answer(request, _found(request, name, "overview"), None)


@never_cache
@require_safe
def agent_panel(request: HttpRequest, agent: UUID, name: str) -> HttpResponse:
    """A panel of one agent's page."""
    return _answer(request, _found(request, name, "agent"), agent)


def _found(request: HttpRequest, name: str, place: Place) -> Panel:
    panel = VERDICT if name == VERDICT.name else find_panel(name)
    if panel is None or panel.place != place:
        raise Http404(f"There is no panel {name!r}.")
    if not may_see(request, panel):
        raise PermissionDenied
    return panel


def _answer(request: HttpRequest, panel: Panel, agent: UUID | None) -> HttpResponse:
    url = url_of(panel, agent)
    content = _content(request, panel, agent, url)
    if getattr(request, "htmx", False):
        return HttpResponse(content)
    context = {
        **site.each_context(request),
        "title": panel.title,
        "panel": panel,
        "url": url,
        "body": content,
    }
    return render(request, "admin/panels/page.html", context)


def _content(request: HttpRequest, panel: Panel, agent: UUID | None, url: str) -> SafeString:
    """The panel's card as HTML, or one that says in a sentence why there is none."""
    if missing := away(panel.needs):
        titles = " and ".join(state.title for state in missing)
        since = missing[0].since
        when = f" since {since:%H:%M:%S} UTC" if since else ""
        verb = "is" if len(missing) == 1 else "are"
        return _render(request, panel, _unknown(f"{titles} {verb} away{when}."), url)
    try:
        with limited(panel.limit):
            card = panel.content(request) if agent is None else panel.content(request, agent)
            # Inside the limit as well: a template may ask for rows.
            return _render(request, panel, card, url)
    except (Http404, PermissionDenied):
        raise
    except TooSlow:
        return _render(
            request, panel, _unknown(f"{panel.title} did not answer within {panel.limit:g} s."), url
        )
    except (OperationalError, InterfaceError):
        logger.warning("The panel %s lost PostgreSQL", panel.name, exc_info=True)
        return _render(
            request, panel, _unknown(f"{panel.title} could not be read: PostgreSQL was lost."), url
        )
    except Exception:
        logger.exception("The panel %s failed", panel.name)
        words = f"{panel.title} could not be read; the web process's log says why."
        return _render(request, panel, _unknown(words), url)


def _unknown(sentence: str) -> Card:
    return Card("unknown", "Unknown", template="admin/panels/unknown.html", context={"sentence": sentence})


def _render(request: HttpRequest, panel: Panel, card: Card, url: str) -> SafeString:
    drawing: Drawing | None = draw(card.chart, from_zero=panel.wide) if card.chart else None
    taken: datetime = card.measured_at or timezone.now()
    context = {
        "panel": panel,
        "url": url,
        "card": card,
        "drawing": drawing,
        "taken": taken,
        "title_url": _title_url(panel),
        **card.context,
    }
    template = "admin/panels/verdict.html" if panel is VERDICT else "admin/panels/card.html"
    return render_to_string(template, context, request)


def _title_url(panel: Panel) -> str:
    return reverse(panel.url_name) if panel.url_name else ""
