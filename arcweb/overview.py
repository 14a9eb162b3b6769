"""The page at /: the verdict, and a card for everything that this user may see."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.http import HttpRequest

from arcweb.panel_views import placed, url_of
from arcweb.verdict import VERDICT


def context(request: HttpRequest) -> dict[str, Any]:
    """The page's own context. No card is asked here: each loads itself, so that none can delay the page."""
    where = "embedded" if settings.ARC_EMBEDDED else settings.POSTGRES_HOST
    return {
        "stack": f"{settings.POSTGRES_DB} · {where}",
        "panels": placed(request, "overview"),
        "verdict": VERDICT,
        "verdict_url": url_of(VERDICT),
    }
