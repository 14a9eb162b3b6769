"""A person sees own writes: after a change, reads of that session wait for the replica to have it.

The place in the WAL after a request that may have changed something goes into a cookie of that browser, which
is no secret: whoever alters it reads from the primary. Several web processes need nothing shared for it.
"""

from __future__ import annotations

from collections.abc import Callable

from django.conf import settings
from django.db import DatabaseError, InterfaceError, connection
from django.http import HttpRequest, HttpResponse

from arcweb.postgres import replica

SAFE = ("GET", "HEAD", "OPTIONS", "TRACE")
PLACE = "SELECT (pg_current_wal_lsn() - '0/0')::bigint"
#: Beyond every place in the WAL: such a session reads from the primary.
FAR = 2**63 - 1
#: Seconds beyond the largest lag after which the cookie is not needed: a fresh replica has that change.
MARGIN = 60


def cookie_name() -> str:
    return f"arc_wrote_{settings.ARC_PORT}"


class OwnWritesMiddleware:
    """Only in MIDDLEWARE with a replica."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if request.method in SAFE:
            with replica.asking(_wanted(request)):
                return self.get_response(request)
        response = self.get_response(request)
        response.set_cookie(
            cookie_name(),
            str(_place()),
            max_age=int(settings.ARC_REPLICA_MAX_LAG_SECONDS) + MARGIN,
            secure=settings.SESSION_COOKIE_SECURE,
            httponly=True,
            samesite="Lax",
        )
        return response


def _wanted(request: HttpRequest) -> int:
    said = request.COOKIES.get(cookie_name(), "0")
    return int(said) if said.isascii() and said.isdecimal() and len(said) < 20 else FAR


def _place() -> int:
    try:
        with connection.cursor() as cursor:
            cursor.execute(PLACE)
            place: int = cursor.fetchone()[0]
            return place
    except (DatabaseError, InterfaceError):
        return FAR
