"""What the apps contribute to the admin site without the site knowing them. Pure: imports no Django.

An app contributes in its admin.py, which Django's admin discovers before it reads the URLs: pages and
navigation here, cards and panels through `arcweb.panels`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

#: The headings of the navigation, in their order.
Group = Literal["Agents", "Memories", "Redis", "PostgreSQL", "Safety"]
GROUPS: tuple[Group, ...] = get_args(Group)


@dataclass(frozen=True)
class NavItem:
    """A line of the navigation and of the command palette, shown to those who have `permission`."""

    title: str
    group: Group
    url_name: str  #: "admin:memories_memory_changelist"
    permission: str = ""  #: "app_label.codename"; empty: everybody who may enter the admin
    order: int = 100  #: within the group, lowest first
    listed: bool = True  #: False: the palette finds it, the navigation does not show it


@dataclass(frozen=True)
class Page:
    """A page of the admin site that belongs to no ModelAdmin.

    The site wraps `view` (which takes the request and returns a response) in `admin_view`, refuses it
    with 403 to those who lack `permission`, and lists it in the navigation for those who have it. Its
    template gets the site's context from `admin.site.each_context(request)`.
    """

    path: str  #: below the site's root, as in `path()`: "events/"
    view: Callable[..., Any]
    name: str  #: reversed as "admin:<name>"
    title: str
    group: Group  #: the heading of the navigation
    permission: str = ""  #: "app_label.codename"; empty: everybody who may enter the admin
    listed: bool = True  #: False: reachable, not in the navigation (a page below another)
    order: int = 100
    #: The line of the navigation that is marked on this page ("admin:backups"), where its address, which
    #: begins with that of the line, does not tell.
    below: str = ""


_pages: dict[str, Page] = {}
_nav: dict[str, NavItem] = {}


def register_page(page: Page) -> None:
    """Add a page; a name or path that another page has is a programming error (ValueError)."""
    for other in _pages.values():
        if other != page and (other.name == page.name or other.path == page.path):
            raise ValueError(f"The pages {other.title!r} and {page.title!r} share a name or a path.")
    _pages[page.name] = page
    if page.listed:
        register_nav(NavItem(page.title, page.group, f"admin:{page.name}", page.permission, page.order))


def register_shortcut(name: str, title: str = "") -> None:
    """Let the palette find a page that is not listed; `title` where the page's own says too little there.

    Of use for a page that answers GET without arguments; a page that is not registered is a KeyError.
    """
    page = _pages[name]
    register_nav(
        NavItem(title or page.title, page.group, f"admin:{name}", page.permission, page.order, listed=False)
    )


def below(name: str) -> str:
    """The line of the navigation that the page of that name belongs to; "": its address tells."""
    return _pages[name].below if name in _pages else ""


def registered_pages() -> tuple[Page, ...]:
    """Every page in the order of registration."""
    return tuple(_pages.values())


def register_nav(item: NavItem) -> None:
    """Add a line to the navigation, such as a ModelAdmin's list; or, not listed, to the palette alone."""
    _nav[item.url_name] = item


def navigation() -> list[NavItem]:
    """Every line, by group, order and title, whoever may see it."""
    return [item for item in destinations() if item.listed]


def destinations() -> list[NavItem]:
    """The lines of the navigation, and what the palette finds besides, in the same order."""
    return sorted(_nav.values(), key=lambda item: (GROUPS.index(item.group), item.order, item.title))


@dataclass(frozen=True)
class Found:
    """One thing that the command palette offers."""

    title: str
    url: str
    note: str = ""  #: what tells it from others of that title


@dataclass(frozen=True)
class Finder:
    """Things of one kind that the command palette can go to."""

    label: str  #: the heading of what it finds: "Agents"
    permission: str
    find: Callable[[Any, str, int], Sequence[Found]]  #: (user, text, at most so many); quick, by an index
    order: int = 100  #: lowest first


_finders: dict[str, Finder] = {}


def register_finder(finder: Finder) -> None:
    _finders[finder.label] = finder


def finders() -> tuple[Finder, ...]:
    return tuple(sorted(_finders.values(), key=lambda finder: finder.order))


@dataclass(frozen=True)
class Dependents:
    """Rows that the database deletes together with an object of a model of another app.

    Whoever deletes the object deletes them, and so needs `permission` ("app_label.codename") where there
    are any; empty: they are a part of the object and need none of their own.
    """

    model: type[Any]  #: the model whose objects are deleted
    label: str  #: what goes with them, in the plural: "memories"
    count: Callable[[Sequence[Any]], int]  #: how many, for these primary keys
    permission: str = ""


_dependents: list[Dependents] = []


def register_dependents(dependents: Dependents) -> None:
    """Make the confirmation of a deletion count these rows too."""
    if dependents not in _dependents:
        _dependents.append(dependents)


def dependents_of(model: type[Any]) -> list[Dependents]:
    """What goes with objects of this model, in the order of registration."""
    return [dependents for dependents in _dependents if dependents.model is model]
