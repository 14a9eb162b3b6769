"""The colours a browser asked for, for every page."""

from __future__ import annotations

from typing import Literal, get_args

from django.http import HttpRequest

#: "auto" follows the machine of whoever looks.
Theme = Literal["auto", "light", "dark"]
THEMES: tuple[Theme, ...] = get_args(Theme)
COOKIE = "arc_theme"
COOKIE_AGE = 365 * 86400  # seconds


def theme(request: HttpRequest) -> dict[str, Theme]:
    """`theme` for templates, out of a cookie, so that the first paint is right; no query."""
    asked = request.COOKIES.get(COOKIE, "")
    return {"theme": next((known for known in THEMES if known == asked), "auto")}
