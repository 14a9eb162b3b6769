"""The overview of the PostgreSQL server: one page, each of whose panels can be asked for alone (?panel=)."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import BadRequest
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import NoReverseMatch, reverse
from django.views.decorators.http import require_safe

from arcweb.database.overview import courses, shared
from arcweb.database.overview.by_hand import by_hand
from arcweb.database.overview.courses import PERIODS
from arcweb.database.overview.figures import GROUPS
from arcweb.database.overview.verdict import verdict
from arcweb.database.overview.words import Group
from arcweb.database.parts import LIMIT, Part, part
from arcweb.database.rooms import context, database_page
from arcweb.registry import registered_pages

#: Seconds that all parts of the whole page have together: a busy server shows as parts that are unknown.
SECONDS = 3.0
LATE = "{what} were not asked: the server is busy, and the page had no time left. They are asked again soon."
TEMPLATES = "admin/database/overview"


@dataclass
class Clock:
    """The time that is left for one page."""

    ends: float

    def part(self, ask: Any, what: str, most: float = LIMIT) -> Part[Any]:
        left = self.ends - time.monotonic()
        if left < 0.05:
            return Part(None, LATE.format(what=what))
        return part(ask, what=what, seconds=min(most, left))


@require_safe
@database_page("PostgreSQL")
def database_overview(request: HttpRequest) -> HttpResponse:
    """Verdict, figures and charts over ?period=; with ?panel= that panel's content alone."""
    period = request.GET.get("period", "hour")
    if period not in PERIODS:
        raise BadRequest(f"The charts cover one of {', '.join(PERIODS)}, not {period!r}.")
    clock = Clock(time.monotonic() + SECONDS)
    if name := request.GET.get("panel"):
        return _panel(request, name, period, clock)
    with shared.page():
        shown = {
            **_verdict(request),
            "groups": [_group(request, group, clock) for group in GROUPS],
            **_by_hand(clock),
            **_courses(period, clock),
        }
    return render(request, f"{TEMPLATES}/overview.html", context(request, "PostgreSQL", **shown))


def _panel(request: HttpRequest, name: str, period: str, clock: Clock) -> HttpResponse:
    if name == "verdict":
        return render(request, f"{TEMPLATES}/_verdict.html", _verdict(request))
    if name == "courses":
        return render(request, f"{TEMPLATES}/_courses.html", _courses(period, clock))
    if name == "by-hand":
        return render(request, f"{TEMPLATES}/_by_hand.html", _by_hand(clock))
    for group in GROUPS:
        if group.name == name:
            return render(request, f"{TEMPLATES}/_figures.html", _group(request, group, clock))
    raise Http404(f"There is no panel {name!r}.")


def _verdict(request: HttpRequest) -> dict[str, Any]:
    return {"verdict": verdict(request.user.has_perm)}


def _group(request: HttpRequest, group: Group, clock: Clock) -> dict[str, Any]:
    known = shared.without_asking(group.ask)
    shown = clock.part(group.ask, group.what) if known is None else Part(known)
    return {"group": group, "shown": shown, "more_url": _more(request, group)}


def _by_hand(clock: Clock) -> dict[str, Any]:
    return {"typed": clock.part(by_hand, "The statements")}


def _courses(period: str, clock: Clock) -> dict[str, Any]:
    return {
        "drawings": clock.part(lambda: courses.drawings(period), "The charts", 1.5),
        "period": period,
        "periods": [(name, words[0]) for name, words in PERIODS.items()],
    }


def _more(request: HttpRequest, group: Group) -> str:
    """The page that shows more, for those who may see it."""
    for page in registered_pages():
        if f"admin:{page.name}" == group.url_name and (
            not page.permission or request.user.has_perm(page.permission)
        ):
            try:
                return reverse(group.url_name)
            except NoReverseMatch:
                return ""
    return ""
