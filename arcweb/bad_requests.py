"""Requests that cannot be served as they are: refused with a sentence, never a 500 or an empty page."""

from __future__ import annotations

import logging
from collections.abc import Callable

from django.conf import settings
from django.core.exceptions import (
    BadRequest,
    RequestDataTooBig,
    TooManyFieldsSent,
    TooManyFilesSent,
    ValidationError,
)
from django.db import DataError
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, QueryDict
from django.shortcuts import render
from django.template.loader import render_to_string

logger = logging.getLogger(__name__)


class RefuseBadValues:
    """Refuses what would end in PostgreSQL's refusal, and zero bytes in addresses before they get there.

    Puts words into the empty answer that a view gives to a method it does not take.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        if isinstance(response, HttpResponseNotAllowed) and not response.content:
            explain_method(request, response)
        return response

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        """Values that no form has judged (ids in hidden fields and addresses) and PostgreSQL refuses."""
        if not isinstance(exception, DataError | ValidationError | OverflowError):
            return None
        logger.warning("A value was refused at %s", request.path, exc_info=exception)
        return bad_request(request, BadRequest("The address or the form holds a value that cannot be right."))

    def process_view(self, request: HttpRequest, *args: object) -> None:
        if "\x00" in request.path or holds_zero_byte(request.GET):
            raise BadRequest("The address holds a zero byte (%00); remove it.")


def holds_zero_byte(values: QueryDict) -> bool:
    return any("\x00" in value for _, several in values.lists() for value in several)


def explain_method(request: HttpRequest, response: HttpResponseNotAllowed) -> None:
    """Fill the answer of status 405: a page, or a sentence for htmx."""
    if request.method in ("GET", "HEAD"):
        reason = "It takes what a form sends: use the button on the page that has it. Nothing was done."
    else:
        reason = f"It takes no {request.method}, only {response.headers['Allow']}. Nothing was done."
    if request.headers.get("HX-Request"):
        response.headers["Content-Type"] = "text/plain; charset=utf-8"
        response.content = reason
    else:
        response.content = render_to_string("405.html", {"reason": reason}, request)


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
