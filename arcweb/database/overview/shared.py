"""What one page asks once, however many of its parts want it.

The verdict and the panels want the same figures. Within `page()` the first part that asks, within its own
time limit, asks for all of them; one that failed or was too slow leaves nothing behind, and the next asks
for itself. Outside of it everything is asked each time.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, NoReturn, TypeVar

from django.db import DEFAULT_DB_ALIAS, connections

T = TypeVar("T")


@dataclass
class _Page:
    answers: dict[Hashable, Any] = field(default_factory=dict)
    pieces: set[str] = field(default_factory=set)
    columns: dict[str, Any] = field(default_factory=dict)
    may_ask: bool = True

    def about_to_ask(self) -> None:
        if not self.may_ask:
            raise _WouldAsk


_page: ContextVar[_Page | None] = ContextVar("arcweb.database.overview.shared", default=None)


class _WouldAsk(Exception):  # noqa: N818 - it is no fault
    """A statement was about to be sent."""


@contextmanager
def page() -> Iterator[None]:
    """As long as it lasts, this thread asks nothing twice."""
    before = _page.set(_Page())
    try:
        yield
    finally:
        _page.reset(before)


def once(key: Hashable, ask: Callable[[], T]) -> T:
    """What `ask` returns, or has returned under that key on this page."""
    now = _page.get()
    if now is None:
        return ask()
    if key not in now.answers:
        now.about_to_ask()
        now.answers[key] = ask()
    answer: T = now.answers[key]
    return answer


def columns(pieces: tuple[str, ...], ask: Callable[[tuple[str, ...]], dict[str, Any]]) -> dict[str, Any]:
    """The columns of these pieces, and of others that this page knows; `ask` is handed those it does not."""
    now = _page.get()
    if now is None:
        return ask(pieces)
    if missing := tuple(piece for piece in pieces if piece not in now.pieces):
        now.about_to_ask()
        now.columns.update(ask(missing))
        now.pieces.update(missing)
    return dict(now.columns)


def without_asking(ask: Callable[[], T], using: str = DEFAULT_DB_ALIAS) -> T | None:
    """What `ask` returns where this page knows all that it wants; None where it would have to ask."""
    now = _page.get()
    if now is None:
        return None
    now.may_ask = False
    try:
        # For what asks past `once` and `columns`.
        with connections[using].execute_wrapper(_refuse):
            return ask()
    except _WouldAsk:
        return None
    finally:
        now.may_ask = True


def _refuse(execute: Any, sql: Any, params: Any, many: bool, context: Any) -> NoReturn:
    raise _WouldAsk
