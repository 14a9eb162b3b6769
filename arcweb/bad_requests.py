"""Requests that cannot be served as they are: refused with a sentence, never a 500."""

from __future__ import annotations

from collections.abc import Callable

from django.conf import settings
from django.core.exceptions import BadRequest, RequestDataTooBig, TooManyFieldsSent, TooManyFilesSent
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render


class RefuseZeroBytes:
    """Refuses addresses that hold a zero byte: PostgreSQL cannot compare with one, whatever it is for."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_view(self, request: HttpRequest, *args: object) -> None:
        if "\x00" in request.path or any("\x00" in v for _, values in request.GET.lists() for v in values):
            raise BadRequest("The address holds a zero byte (%00); remove it.")


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """The page of status 400; the reason is ours or of a known kind, never the text of an unknown error."""
    if isinstance(exception, RequestDataTooBig):
        reason = f"What was sent is too large; {settings.ARC_MAX_UPLOAD_MB} MB is the most."
    elif isinstance(exception, TooManyFieldsSent | TooManyFilesSent):
        reason = "The form has too many fields or files; send fewer at once."
    elif isinstance(exception, BadRequest):
        reason = str(exception)
    else:
        reason = (
            "The browser sent something that cannot be understood. Go back, reload the page and try again."
        )
    return render(request, "400.html", {"reason": reason}, status=400)
