"""Views that one user may ask only so often. Who counts is installed by the app that can (the Redis room)."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import wraps
from typing import Any

from django.contrib import admin
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import render

#: (name of the limit, identity) → seconds to wait; 0: go on.
Count = Callable[[str, str], float]
View = Callable[..., HttpResponseBase]


class _Installed:
    count: Count | None = None


def install(count: Count | None) -> None:
    """Have hits counted by `count`, which must not raise; None: nothing is limited."""
    _Installed.count = count


def limited(
    name: str, what: str, *, applies: Callable[[HttpRequest], bool] = lambda request: True
) -> Callable[[View], View]:
    """Decorates a view of people who are logged in: beyond the limit `name` it answers 429 in words.

    what: what there is too much of, for the sentence: "searches". applies: whether a request counts.
    """

    def decorate(view: View) -> View:
        @wraps(view)
        def wrapped(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            if _Installed.count is not None and applies(request):
                seconds = math.ceil(_Installed.count(name, f"user:{request.user.pk}"))
                if seconds > 0:
                    return _too_many(request, what, seconds)
            return view(request, *args, **kwargs)

        return wrapped

    return decorate


def _too_many(request: HttpRequest, what: str, seconds: int) -> HttpResponse:
    shown = {
        **admin.site.each_context(request),
        "title": "Too many at once",
        "what": what,
        "seconds": seconds,
        # A form is sent again from its page.
        "again": request.get_full_path() if request.method in ("GET", "HEAD") else "",
    }
    response = render(request, "admin/429.html", shown, status=429)
    response["Retry-After"] = str(seconds)
    return response
