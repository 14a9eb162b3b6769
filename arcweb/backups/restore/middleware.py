"""Answers while a restore puts another database in place: 503 in words, before any session is asked for.

The page of the restore that is under way goes on: its address has a signed token, since nobody can be asked
who they are.
"""

from __future__ import annotations

import logging
import subprocess
import time
from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.urls import Resolver404, resolve, reverse

from arcweb import paused
from arcweb.accounts.context import theme
from arcweb.backups.restore import launching, recovery, showing
from arcweb.backups.restore.running import folder

logger = logging.getLogger(__name__)
RETRY_AFTER = 3  # seconds
#: Seconds between two tries to settle what a killed restore left.
RECOVER_EVERY = 15.0
#: The live parts of the pages of restores.
TIME = "admin:backups_time_progress"
LIVE_PARTS = ("admin:backups_restore_progress", TIME)
#: Answered without the database, whatever happens to it.
PASSED = ("state", "metrics")


class PauseMiddleware:
    """Stands before whatever asks the database. While nothing is paused it costs one look at the disk."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response
        self._recovered = float("-inf")

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if not paused.is_on(settings.ARC_BACKUP_DIR) or request.path_info in map(reverse, PASSED):
            return self.get_response(request)
        self._recover_if_left()
        return self._steps(request) or explain(request)

    def _recover_if_left(self) -> None:
        """Nobody works on the restore that paused us: have it settled, in a process of its own."""
        if time.monotonic() - self._recovered < RECOVER_EVERY or not recovery.needed():
            return
        self._recovered = time.monotonic()
        try:
            launching.spawn("recover")
        except (OSError, subprocess.SubprocessError):
            logger.exception("manage.py backup recover could not be started.")

    def _steps(self, request: HttpRequest) -> HttpResponse | None:
        """The live part of the restore's page, for whoever had that page."""
        try:
            match = resolve(request.path_info)
        except Resolver404:
            return None
        if match.view_name not in LIVE_PARTS or request.method != "GET":
            return None
        id_ = str(match.kwargs["restore"])
        if not showing.is_signed(id_, request.GET.get("token", "")):
            return None
        if match.view_name == TIME:
            from arcweb.backups.physical.views import progress  # asks no database

            return progress(request, match.kwargs["restore"])
        journal = folder().read(id_)
        return showing.progress(request, journal) if journal else None


def explain(request: HttpRequest) -> HttpResponse:
    """The page of status 503, or for htmx its sentence. It says nothing that only some may know."""
    pause = paused.read(settings.ARC_BACKUP_DIR)
    journal = folder().read(pause.restore) if pause and pause.restore else None
    heading = "A backup is being put in place"
    sentence = (
        "The database is exchanged for a restored one. This takes seconds to minutes; everybody logs in anew "
        "afterwards."
    )
    if getattr(request, "htmx", None) or request.headers.get("HX-Request"):
        response = HttpResponse(f"{heading}. {sentence}", content_type="text/plain; charset=utf-8")
    else:
        context = {
            "heading": heading,
            "sentence": sentence,
            "steps": journal.steps if journal else [],
            "since": pause.since if pause else "",
            "reads": request.method in ("GET", "HEAD"),
            "here": request.get_full_path(),
            "every": RETRY_AFTER,
            **theme(request),
        }
        response = HttpResponse(render_to_string("admin/backups/restore/paused.html", context))
    response.status_code = 503
    response._has_been_logged = True  # type: ignore[attr-defined]  # noqa: SLF001 - once in the restore's log
    response["Retry-After"] = str(RETRY_AFTER)
    response["Cache-Control"] = "no-store"
    return response
