"""What every page of the admin is framed by: the navigation, and the command palette's findings."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from django.contrib.admin import site
from django.db import DatabaseError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.functional import SimpleLazyObject
from django.views.decorators.http import require_safe

from arcweb.postgres import TooSlow, limited
from arcweb.registry import Finder, Found, NavItem, below, destinations, finders, navigation

logger = logging.getLogger(__name__)
#: Things of each kind that the palette shows.
MOST_FOUND = 6
LONGEST_TEXT = 100  # characters typed into the palette
#: Seconds that one finder may take: the palette asks them all, a few times for every word that is typed.
FINDER_SECONDS = 0.4
#: In which the browser keeps what this person opened and folded: "Redis-open.Safety-shut".
FOLDS = "arc_folds"
#: Groups with more lines are folded until somebody opens them.
LONGEST_OPEN = 8


@dataclass(frozen=True)
class Link:
    title: str
    url: str
    current: str  #: the value of aria-current: "page", "true" for a page below it, or ""


@dataclass(frozen=True)
class Section:
    """A group of the navigation. unfolded: its lines are seen; those of the present page always are."""

    group: str
    items: list[Link]
    unfolded: bool = True


@dataclass(frozen=True)
class Findings:
    label: str
    found: list[Found]


def permitted(user: Any, items: Iterable[NavItem]) -> list[NavItem]:
    """Those lines that this user may open."""
    return [item for item in items if not item.permission or user.has_perm(item.permission)]


def sections(request: HttpRequest) -> list[Section]:
    """The navigation for this request's user, by group; the line of the present page is marked."""
    items = [(item, reverse(item.url_name)) for item in permitted(request.user, navigation())]
    match = request.resolver_match
    if match is not None and (line := below(match.url_name or "")):
        here = reverse(line)
    else:
        # The longest address that the present one begins with: /memories/search/ is not below /memories/.
        here = max((url for _, url in items if request.path.startswith(url)), key=len, default="")

    def link(item: NavItem, url: str) -> Link:
        current = "" if url != here else "page" if request.path == url else "true"
        return Link(item.title, url, current)

    chosen = folds(request)
    found = []
    for group, several in groupby(items, key=lambda pair: pair[0].group):
        links = [link(item, url) for item, url in several]
        open_by_itself = chosen.get(group, len(links) <= LONGEST_OPEN)
        found.append(Section(group, links, open_by_itself or any(one.current for one in links)))
    return found


def folds(request: HttpRequest) -> dict[str, bool]:
    """Which groups this browser was told to open (True) or to fold; those it was not are left out."""
    said = (word.rpartition("-") for word in request.COOKIES.get(FOLDS, "")[:400].split("."))
    return {group: state == "open" for group, _, state in said if state in ("open", "shut")}


def context(request: HttpRequest) -> dict[str, Any]:
    """Context processor. Lazy: a fragment that shows no navigation asks for nobody's permissions."""

    def made() -> list[Section]:
        user = getattr(request, "user", None)
        return sections(request) if user is not None and user.is_authenticated else []

    return {"navigation": SimpleLazyObject(made), "overview_path": reverse("admin:index")}


@require_safe
def find(request: HttpRequest) -> HttpResponse:
    """Pages, and what the apps' finders know, for the text in `q`: a fragment for htmx, else a page.

    A finder that fails or is slow is left out, and named: the palette must open whatever is broken.
    """
    text = " ".join(request.GET.get("q", "").split())[:LONGEST_TEXT]
    words = text.casefold().split()
    # Before anything is typed the navigation is enough; every page would fill the screen.
    items = permitted(request.user, destinations() if text else navigation())
    pages = [Found("Overview", reverse("admin:index"))]
    pages += [Found(item.title, reverse(item.url_name), item.group) for item in items]
    findings = [Findings("Pages", [page for page in pages if _named(page, words)])]
    missing = []
    for finder in finders() if text else ():
        if finder.permission and not request.user.has_perm(finder.permission):
            continue
        found = _found(finder, request.user, text)
        if found is None:
            missing.append(finder.label)
        else:
            findings.append(Findings(finder.label, found))
    shown = {
        "findings": [several for several in findings if several.found],
        "missing": missing,
        "text": text,
        "title": "Go to",
    }
    if getattr(request, "htmx", False):
        return render(request, "admin/_found.html", shown)
    return render(request, "admin/find.html", {**site.each_context(request), **shown})


def _named(page: Found, words: list[str]) -> bool:
    """Whether each of the words, in whatever order, is in the page's title or the name of its room."""
    name = f"{page.note} {page.title}".casefold()
    return all(word in name for word in words)


def _found(finder: Finder, user: Any, text: str) -> list[Found] | None:
    """What that finder knows; None when it failed or took too long."""
    try:
        with limited(FINDER_SECONDS):
            return list(finder.find(user, text, MOST_FOUND))
    except TooSlow as error:
        logger.warning("The palette went without its finder %s: %s", finder.label, error)
    except DatabaseError:
        logger.exception("The palette's finder %s failed", finder.label)
    return None
