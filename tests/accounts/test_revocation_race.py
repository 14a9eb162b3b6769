"""A request that was let in before its login was revoked, and that saves its session afterwards."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.conf import settings
from django.contrib.sessions.middleware import SessionMiddleware
from django.contrib.sessions.models import Session
from django.core.cache import caches
from django.http import HttpRequest, HttpResponse
from django.test import Client, RequestFactory

from arcweb.accounts.middleware import AuthenticationMiddleware
from arcweb.accounts.models import UserSession
from arcweb.accounts.sessions import SessionStore
from tests.accounts.test_records import logged_in
from tests.people import client_of, make_user

pytestmark = pytest.mark.django_db
COOKIE = settings.SESSION_COOKIE_NAME


def write(session: Any) -> None:
    session["late"] = 1


def write_anew(session: Any) -> None:
    """As at a change of the password: all it holds, under another key."""
    session["late"] = 1
    session.cycle_key()


def write_now(session: Any) -> None:
    """By the view itself, and once more with the response."""
    write(session)
    session.save()
    write(session)


@pytest.mark.parametrize("late", [write, write_anew, write_now])
def test_a_session_saved_after_its_revocation_lets_nobody_in(late: Callable[[Any], None]) -> None:
    ada = make_user("viewer", "ada")
    here, stolen = client_of(ada), client_of(ada)
    record = UserSession.objects.latest("pk")
    key = stolen.cookies[COOKIE].value

    def slow(request: HttpRequest) -> HttpResponse:
        assert request.user == ada
        assert here.post(f"/account/sessions/{record.pk}/end/").status_code == 302
        late(request.session)
        return HttpResponse("It took a while.")

    request = RequestFactory().get("/")
    request.COOKIES[COOKIE] = key
    answer = SessionMiddleware(AuthenticationMiddleware(slow))(request)

    cookie = answer.cookies.get(COOKIE)
    after = cookie.value if cookie else key
    assert (after != key) == (late is write_anew)
    assert caches["default"].get(SessionStore(after).cache_key)["late"] == 1, "the copy is there again"
    assert Session.objects.filter(pk=after).exists()
    for left in {key, after}:
        browser = Client()
        browser.cookies[COOKIE] = left
        assert not logged_in(browser)
    assert logged_in(here)
    record.refresh_from_db()
    assert record.ended_reason == UserSession.End.REVOKED
