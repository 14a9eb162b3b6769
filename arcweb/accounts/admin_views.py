"""The pages Account and Sessions."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, cast
from urllib.parse import urlencode

from django.conf import settings
from django.contrib import admin, messages
from django.contrib.auth.models import User
from django.core.exceptions import BadRequest
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from arcweb.accounts import context, records
from arcweb.accounts.browsers import in_words
from arcweb.accounts.endings import span
from arcweb.accounts.forms import ProfileForm
from arcweb.accounts.middleware import current_key_hash
from arcweb.accounts.models import UserSession
from arcweb.accounts.querysets import SEEN_EVERY
from arcweb.accounts.roles import WORDS, role_of
from arcweb.events import record

#: Sessions that a page shows.
MOST = 100
REVOKED = UserSession.End.REVOKED


@dataclass(frozen=True)
class Line:
    """A live session for people."""

    session: UserSession
    browser: str
    just_now: bool  #: seen so lately that a record says no more
    this_one: bool


def lines(sessions: Iterable[UserSession]) -> list[Line]:
    here, lately = current_key_hash(), timezone.now() - SEEN_EVERY - timedelta(seconds=5)
    return [
        Line(one, in_words(one.user_agent), one.last_seen_at > lately, one.key_hash == here)
        for one in sessions
    ]


@require_http_methods(["GET", "HEAD", "POST"])
def account(request: HttpRequest) -> HttpResponse:
    """One's own name and address (POST changes them), role, theme and sessions."""
    user = _person(request)
    form = ProfileForm(request.POST if request.method == "POST" else None, instance=user)
    if request.method == "POST" and form.is_valid():
        if form.changed_data:
            with transaction.atomic():
                record("user.changed", obj=user, data={"fields": form.changed_data})
                user.save(update_fields=form.changed_data)
        messages.success(request, "Your profile is saved.")
        return redirect("admin:account")
    if form.errors:
        user = User.objects.get(pk=user.pk)  # the form has put what was typed into the other
    live = UserSession.objects.live().filter(user=user)
    role = role_of(user)
    shown = {
        **admin.site.each_context(request),
        "title": "Account",
        "person": user,
        "role": "superuser" if user.is_superuser else role or "none",
        "role_words": "may do everything"
        if user.is_superuser
        else WORDS[role]
        if role
        else "sees nothing yet",
        "form": form,
        "lines": lines(live.order_by("-last_seen_at", "-pk")[:MOST]),
        "others": live.exclude(key_hash=current_key_hash()).count(),
        "themes": context.THEMES,
        "idle": span(settings.ARC_SESSION_IDLE_SECONDS),
        "longest": span(settings.ARC_SESSION_SECONDS),
    }
    return render(request, "admin/accounts/account.html", shown)


@require_POST
def set_theme(request: HttpRequest) -> HttpResponse:
    """Keeps the theme in a cookie and goes back to where the form stood (`next`)."""
    asked = request.POST.get("theme", "")
    if asked not in context.THEMES:
        raise BadRequest("There is no such theme; choose light, dark or auto.")
    back = request.POST.get("next", "")
    if not url_has_allowed_host_and_scheme(back, {request.get_host()}, require_https=request.is_secure()):
        back = reverse("admin:account")
    response = HttpResponseRedirect(back)  # redirect() would take a bare word for the name of a view
    response.set_cookie(
        context.COOKIE,
        asked,
        max_age=context.COOKIE_AGE,
        secure=settings.SESSION_COOKIE_SECURE,
        httponly=True,
        samesite="Lax",
    )
    return response


@require_POST
def end_own(request: HttpRequest, pk: int) -> HttpResponse:
    """Revoke one of one's own sessions; somebody else's is not found."""
    user = _person(request)
    session = get_object_or_404(UserSession, pk=pk, user=user)
    ended = records.end(UserSession.objects.filter(pk=session.pk), user, REVOKED, by=user)
    _tell(request, ended)
    return redirect("admin:account")


@require_POST
def end_others(request: HttpRequest) -> HttpResponse:
    """Revoke all of one's own sessions but the one that asks."""
    user = _person(request)
    others = UserSession.objects.exclude(key_hash=current_key_hash())
    _tell(request, records.end(others, user, REVOKED, by=user))
    return redirect("admin:account")


@require_safe
def sessions(request: HttpRequest) -> HttpResponse:
    """Every live session, last seen first; `user` is the beginning of a name."""
    name = request.GET.get("user", "").strip()[:150]
    rows = UserSession.objects.live()
    if name:
        rows = rows.filter(user__username__istartswith=name)
    total = rows.count()
    shown = list(rows.select_related("user").order_by("-last_seen_at", "-pk")[:MOST])
    people = {one.user for one in shown}
    exact = next((user for user in people if user.username == name), None)
    return render(
        request,
        "admin/accounts/sessions.html",
        {
            **admin.site.each_context(request),
            "title": "Sessions",
            "name": name,
            "lines": lines(shown),
            "total": total,
            "person": exact or (people.pop() if name and len(people) == 1 else None),
        },
    )


@require_POST
def end_one(request: HttpRequest, pk: int) -> HttpResponse:
    """Revoke anybody's session."""
    session = get_object_or_404(UserSession.objects.select_related("user"), pk=pk)
    ended = records.end(UserSession.objects.filter(pk=session.pk), session.user, REVOKED, by=_person(request))
    _tell(request, ended)
    back = request.POST.get("user", "")
    return redirect(f"{reverse('admin:sessions')}{'?' + urlencode({'user': back}) if back else ''}")


@require_http_methods(["GET", "HEAD", "POST"])
def end_all(request: HttpRequest, pk: int) -> HttpResponse:
    """Revoke every session of a user: GET asks, with their number; POST wants the user's name typed."""
    user = get_object_or_404(User, pk=pk)
    if request.method == "POST":
        if request.POST.get("typed", "").strip() != user.username:
            messages.error(request, f"Nothing was revoked: to confirm, type {user.username} as it is.")
            return redirect("admin:sessions_end_all", pk=user.pk)
        ended = records.end(UserSession.objects.all(), user, REVOKED, by=_person(request))
        _tell(request, ended)
        return redirect("admin:sessions")
    live = UserSession.objects.live().filter(user=user)
    total = live.count()
    shown: dict[str, Any] = {
        **admin.site.each_context(request),
        "title": f"Revoke all sessions of {user}",
        "person": user,
        "lines": lines(live.order_by("-last_seen_at", "-pk")[:MOST]),
        "total": total,
        "itself": user == _person(request),
    }
    return render(request, "admin/accounts/end_all.html", shown)


def _person(request: HttpRequest) -> User:
    return cast("User", request.user)


def _tell(request: HttpRequest, ended: int) -> None:
    if ended:
        number = "1 session is" if ended == 1 else f"{ended} sessions are"
        messages.success(request, f"{number} revoked; the next request from there leads to the login.")
    else:
        messages.warning(request, "Nothing was left to revoke: it had ended already.")
