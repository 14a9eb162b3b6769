"""Answers while PostgreSQL is away: a page in words, before any session or user is asked for.

Stands before SessionMiddleware in MIDDLEWARE. `/state/` tells how the servers stand, for the page that
waits and for monitors; `/metrics` is Prometheus's.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from typing import Any, Literal

from django.conf import settings
from django.db import DatabaseError, InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse, HttpResponseServerError, JsonResponse
from django.template.loader import render_to_string
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from arcweb import servers
from arcweb.accounts.context import theme
from arcweb.embedded import restart
from arcweb.metrics.views import metrics
from arcweb.postgres import ServerSilent, TooSlow

logger = logging.getLogger(__name__)
RETRY_AFTER = 5  # seconds
Trouble = Literal["away", "lost", "full", "slow", "unwritable"]
#: SQLSTATEs and their classes (PostgreSQL's manual, appendix A) that mean a lost connection; none at all
#: means that libpq lost it, or never had it.
LOST = ("08", "57P", "25P03", "25P04")
FULL, SLOW = ("53300",), ("57014", "55P03")
#: The disk is full; everything is read-only, as on a standby.
UNWRITABLE = ("53100", "25006")


class AwayMiddleware:
    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if request.path_info == reverse("state"):
            return state(request)
        if request.path_info == reverse("metrics"):
            return metrics(request)
        if servers.is_away("postgres"):
            return explain(request, "away")
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        """The server died, or the time was over, in the middle of a view."""
        found = trouble(exception)
        return None if found is None else _told(request, found, exception)


@never_cache
@require_safe
def state(request: HttpRequest) -> HttpResponse:
    """Each server: up (null while unknown) and since when. Status 200 whatever it says."""
    return JsonResponse(
        {
            server.name: {"up": server.up, "since": server.since and server.since.isoformat()}
            for server in servers.states()
        }
    )


def server_error(request: HttpRequest) -> HttpResponse:
    """handler500: what failed outside of a view, such as a session that could not be stored."""
    exception = sys.exc_info()[1]
    found = trouble(exception) if exception is not None else None
    if found is not None and exception is not None:
        return _told(request, found, exception)
    return HttpResponseServerError(render_to_string("500.html", theme(request)))


def trouble(exception: BaseException) -> Trouble | None:
    """What an error says of PostgreSQL's state; None for an error that is the application's own."""
    if isinstance(exception, TooSlow):
        return "slow"
    if isinstance(exception, InterfaceError):
        return "lost" if "connection" in str(exception) else None
    if not isinstance(exception, DatabaseError):
        return None
    if isinstance(exception.__cause__, ServerSilent):
        return "lost"
    code = getattr(exception.__cause__, "sqlstate", None) or ""
    if code in UNWRITABLE:
        return "unwritable"
    if not isinstance(exception, OperationalError):
        return None
    message = str(exception)
    if code in FULL or "too many" in message or "remaining connection slots" in message:
        return "full"
    if code in SLOW:
        return "slow"
    return "lost" if not code or code.startswith(LOST) else None


def _told(request: HttpRequest, found: Trouble, exception: BaseException) -> HttpResponse:
    servers.suspect("postgres")
    logger.warning("%s %s was not answered: %s", request.method, request.path, exception)
    seconds = exception.seconds if isinstance(exception, TooSlow) else settings.ARC_WEB_STATEMENT_SECONDS
    away = found == "lost" and servers.is_away("postgres")
    return explain(request, "away" if away else found, seconds=seconds, begun=True)


def explain(
    request: HttpRequest, found: Trouble, *, seconds: float = 0.0, begun: bool = False
) -> HttpResponse:
    """The page of status 503, or for htmx its sentence. begun: the request was already being worked on."""
    postgres = servers.state_of("postgres")
    restarting = (
        settings.ARC_EMBEDDED and found in ("away", "lost") and restart.under_way(settings.ARC_LAYOUT)
    )
    heading = {
        "away": "PostgreSQL is away",
        "lost": "The connection to PostgreSQL was lost",
        "full": "PostgreSQL has no connection left",
        "slow": "This took too long",
        "unwritable": "PostgreSQL takes no changes",
    }[found]
    sentence = {
        "away": f"{postgres.reason[:1].upper()}{postgres.reason[1:]}.",
        "lost": "It ended in the middle of this page.",
        "full": "As many are open as it allows; some are given back within seconds.",
        "slow": f"The database needed longer than {seconds:g} s and was stopped. Ask for less, or try again: "
        "another change may have been in the way.",
        "unwritable": "Its disk is full, or it is a copy that is only read. What is stored can be looked at; "
        "nothing is written until an administrator has mended that.",
    }[found]
    if restarting:
        heading, sentence = "PostgreSQL is being restarted", "A page asked for it; it takes some seconds."
    if getattr(request, "htmx", None) or request.headers.get("HX-Request"):
        lasting = f" for {postgres.lasting}" if found == "away" else ""
        response = HttpResponse(f"{heading}{lasting}. {sentence}", content_type="text/plain; charset=utf-8")
    else:
        reads = request.method in ("GET", "HEAD")
        context: dict[str, Any] = {
            "heading": heading,
            "sentence": sentence,
            "postgres": postgres if found == "away" else None,
            "others": [server for server in servers.states() if server.name != "postgres"],
            "waits": found not in ("slow", "unwritable"),
            "reads": reads,
            "begun": begun,
            "here": request.get_full_path() if reads else "",
            **theme(request),
        }
        response = HttpResponse(render_to_string("away.html", context))
    response.status_code = 503
    # Who lost what is logged: by the prober once, or in _told. Not once more for every page that waits.
    response._has_been_logged = True  # type: ignore[attr-defined]  # noqa: SLF001
    response["Retry-After"] = str(RETRY_AFTER)
    response["Cache-Control"] = "no-store"
    return response
