"""Logins, logouts and failed logins as events. Receivers: connected when the app is ready."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from django.contrib.auth.signals import user_logged_in, user_logged_out, user_login_failed
from django.dispatch import receiver
from django.http import HttpRequest

from arcweb.events import Actor, current_actor, record
from arcweb.events.middleware import actor_of

LONGEST_TRIED_NAME = 150  # characters, as long as a user name may be


def _actor(request: HttpRequest | None, user: Any) -> Actor:
    origin = actor_of(request) if request is not None else current_actor()
    return Actor.of_user(user, replace(origin, id="", name=""))


@receiver(user_logged_in, dispatch_uid="events-login")
def logged_in(request: HttpRequest | None, user: Any, **kwargs: Any) -> None:
    record("auth.login", obj=user, actor=_actor(request, user))


@receiver(user_logged_out, dispatch_uid="events-logout")
def logged_out(request: HttpRequest | None, user: Any, **kwargs: Any) -> None:
    if user is not None:
        record("auth.logout", obj=user, actor=_actor(request, user))


@receiver(user_login_failed, dispatch_uid="events-login-failed")
def login_failed(credentials: dict[str, Any], request: HttpRequest | None = None, **kwargs: Any) -> None:
    # What was typed as a name may be a password typed into the wrong field: it goes where it can be erased.
    tried = str(credentials.get("username") or "")[:LONGEST_TRIED_NAME]
    record("auth.login_failed", object_type="auth.user", label=tried, actor=_actor(request, None))
