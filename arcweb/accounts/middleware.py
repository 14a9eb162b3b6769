"""Who is behind a request: a user only while the record of the session lives."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from typing import Any, cast
from urllib.parse import urlsplit

from asgiref.sync import sync_to_async
from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, REDIRECT_FIELD_NAME, SESSION_KEY
from django.contrib.auth.middleware import AuthenticationMiddleware as DjangoAuthenticationMiddleware
from django.contrib.auth.models import AnonymousUser, User
from django.db import DatabaseError, transaction
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import resolve_url
from django.urls import reverse
from django.utils.functional import SimpleLazyObject
from django.utils.http import url_has_allowed_host_and_scheme

from arcweb.accounts import records
from arcweb.accounts.endings import SENTENCES
from arcweb.accounts.models import UserSession
from arcweb.accounts.querysets import SEEN_EVERY

logger = logging.getLogger(__name__)
_current: ContextVar[Any] = ContextVar("current session", default=None)


def current_key_hash() -> str:
    """The hash of the session behind the request that this thread answers; "" outside of one."""
    session = _current.get()
    return records.hash_of(session.session_key) if session is not None else ""


def user_of(request: HttpRequest) -> User | AnonymousUser:
    """The user, found with the record of the session in one query; nobody when the record has ended.

    Leaves the record in `request.arc_session`, and why a session has ended in `request.arc_ended`.
    """
    held = cast("Any", request)
    if not hasattr(held, "arc_user"):
        held.arc_user = _load(held)
    user: User | AnonymousUser = held.arc_user
    return user


def _load(request: Any) -> User | AnonymousUser:
    session = request.session
    user_id = session.get(SESSION_KEY)
    if user_id is None or session.get(BACKEND_SESSION_KEY) not in settings.AUTHENTICATION_BACKENDS:
        return AnonymousUser()
    found = UserSession.objects.with_user(records.hash_of(session.session_key))
    if found is None or str(found.user_id) != user_id:
        return AnonymousUser()
    if reason := records.reason_ended(found, session):
        if found.ended_at is None:
            records.close(session.session_key, reason)
        request.arc_ended = reason if reason in SENTENCES else ""
        return AnonymousUser()
    # A page that refreshes its parts by itself does not keep a login alive that nobody uses.
    by_itself = request.method == "GET" and request.headers.get("HX-Request") == "true"
    if not by_itself and found.last_seen_at <= found.read_at - SEEN_EVERY:
        _seen(found.pk)
    request.arc_session = found
    return found.user


def _seen(pk: int) -> None:
    """A database that takes no changes (its disk is full, say) can be read: that is no reason to refuse."""
    try:
        with transaction.atomic():
            UserSession.objects.seen(pk)
    except DatabaseError as error:
        logger.warning("It cannot be noted that session %s was seen: %s", pk, error)


@contextmanager
def _answering(session: Any) -> Iterator[None]:
    token = _current.set(session)
    try:
        yield
    finally:
        _current.reset(token)


class AuthenticationMiddleware(DjangoAuthenticationMiddleware):
    """Django's, with users that `user_of` loads, and redirects to the login that say why and come back."""

    get_response: Callable[[HttpRequest], HttpResponse]

    def process_request(self, request: HttpRequest) -> None:
        super().process_request(request)
        held = cast("Any", request)
        held.user = SimpleLazyObject(lambda: user_of(request))
        held.auser = sync_to_async(partial(user_of, request))

    def __call__(self, request: HttpRequest) -> Any:
        with _answering(cast("Any", request).session):
            response = super().__call__(request)
        return _by_the_login(request, cast("HttpResponse", response))


def _by_the_login(request: HttpRequest, response: HttpResponse) -> HttpResponse:
    """A redirect to the login with why the session has ended, and a way back that a GET can go."""
    path, _, query = response.headers.get("Location", "").partition("?")
    if response.status_code != 302 or path != resolve_url(settings.LOGIN_URL):
        return response
    asked = QueryDict(query, mutable=True)
    if REDIRECT_FIELD_NAME in asked and request.method not in ("GET", "HEAD"):
        asked[REDIRECT_FIELD_NAME] = _where_the_form_stood(request)
    if code := getattr(request, "arc_ended", ""):
        asked["ended"] = code
    response.headers["Location"] = f"{path}?{asked.urlencode(safe='/')}" if asked else path
    return response


def _where_the_form_stood(request: HttpRequest) -> str:
    """The page that sent this request; the overview when the browser does not say, or it is none of ours."""
    sender = request.headers.get("Referer", "")
    if not url_has_allowed_host_and_scheme(sender, {request.get_host()}, require_https=request.is_secure()):
        return reverse("admin:index")
    parts = urlsplit(sender)
    return parts._replace(scheme="", netloc="", fragment="").geturl()
