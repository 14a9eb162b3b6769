"""What the apps contribute to the admin site without the site knowing them. Pure: imports no Django.

An app calls `register_page` in its admin.py, which Django's admin discovers before it reads the URLs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Page:
    """A page of the admin site that belongs to no ModelAdmin.

    The site wraps `view` (which takes the request and returns a response) in `admin_view`, refuses it
    with 403 to those who lack `permission`, and lists it on the overview and in the navigation for
    those who have it. Its template gets the site's context from `admin.site.each_context(request)`.
    """

    path: str  #: below the site's root, as in `path()`: "events/"
    view: Callable[..., Any]
    name: str  #: reversed as "admin:<name>"
    title: str
    group: str  #: the heading that lists it; an app's label puts it beside that app's models
    permission: str = ""  #: "app_label.codename"; empty: everybody who may enter the admin
    listed: bool = True  #: False: reachable, not listed (a page below another)


_pages: dict[str, Page] = {}


def register_page(page: Page) -> None:
    """Add a page; a name or path that another page has is a programming error (ValueError)."""
    for other in _pages.values():
        if other != page and (other.name == page.name or other.path == page.path):
            raise ValueError(f"The pages {other.title!r} and {page.title!r} share a name or a path.")
    _pages[page.name] = page


def registered_pages() -> tuple[Page, ...]:
    """Every page in the order of registration."""
    return tuple(_pages.values())


@dataclass(frozen=True)
class Dependents:
    """Rows that the database deletes together with an object of a model of another app."""

    model: type[Any]  #: the model whose objects are deleted
    label: str  #: what goes with them, in the plural: "memories"
    count: Callable[[Sequence[Any]], int]  #: how many, for these primary keys


_dependents: list[Dependents] = []


def register_dependents(dependents: Dependents) -> None:
    """Make the confirmation of a deletion count these rows too."""
    if dependents not in _dependents:
        _dependents.append(dependents)


def dependents_of(model: type[Any]) -> list[Dependents]:
    """What goes with objects of this model, in the order of registration."""
    return [dependents for dependents in _dependents if dependents.model is model]
