"""What the pages of the PostgreSQL rooms share."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.contrib import admin
from django.core.exceptions import BadRequest
from django.db import DatabaseError, DataError, OperationalError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from arcweb.bad_requests import holds_zero_byte
from arcweb.database.parts import explained
from arcweb.postgres import TooSlow

View = Callable[..., HttpResponse]


def context(request: HttpRequest, title: str, **more: Any) -> dict[str, Any]:
    """The site's context with the page's title."""
    return {**admin.site.each_context(request), "title": title, **more}


def database_page(title: str) -> Callable[[View], View]:
    """Decorates a view: what the server refuses or does not finish in time is a page in words, not a 500.

    A server that is away is answered by `arcweb.away`, as for every page. What may be slow stands in a part
    (`arcweb.database.parts`), with a limit of its own. A value that PostgreSQL cannot take is the sender's
    fault, answered with 400 (`arcweb.bad_requests`).
    """

    def decorate(view: View) -> View:
        @wraps(view)
        def wrapped(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
            if holds_zero_byte(request.POST):
                raise BadRequest(
                    "The form holds a zero byte, which no name and no value of PostgreSQL has. "
                    "Nothing was done; remove it and send the form again."
                )
            try:
                return view(request, *args, **kwargs)
            except TooSlow as error:
                sentence = f"PostgreSQL did not finish within {error.seconds:g} s. Nothing was changed."
            except (DataError, OperationalError):
                raise
            except DatabaseError as error:
                sentence = explained(error, title)
            return render(
                request,
                "admin/database/trouble.html",
                context(request, title, sentence=sentence),
                status=503,
            )

        return wrapped

    return decorate
