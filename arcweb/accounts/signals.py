"""What logins, logouts and changed accounts do to sessions' records. Connected when the app is ready."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib.auth.models import User
from django.contrib.auth.signals import user_logged_in, user_logged_out
from django.db.models.signals import post_save
from django.dispatch import receiver
from django.http import HttpRequest

from arcweb.accounts import records
from arcweb.accounts.middleware import current_key_hash
from arcweb.accounts.models import UserSession
from arcweb.events import current_actor
from arcweb.events.actors import request_origin

End = UserSession.End


@receiver(user_logged_in, dispatch_uid="accounts-login")
def logged_in(request: HttpRequest | None, user: User, **kwargs: Any) -> None:
    if request is not None and hasattr(request, "session"):
        origin = request_origin(request.META, behind_proxy=settings.ARC_BEHIND_PROXY)
        records.begin(request.session, user, origin)


@receiver(user_logged_out, dispatch_uid="accounts-logout")
def logged_out(request: HttpRequest | None, user: User | None, **kwargs: Any) -> None:
    if request is not None and user is not None:
        records.close(request.session.session_key, End.LOGOUT)


@receiver(post_save, sender=User, dispatch_uid="accounts-user-saved")
def user_saved(instance: User, created: bool, raw: bool = False, **kwargs: Any) -> None:
    """Ends the sessions of a user who is deactivated, or has a new password: then all but this one."""
    if created or raw:
        return
    live = UserSession.objects.filter(ended_at=None)
    if not instance.is_active:
        records.end(live, instance, End.DEACTIVATED, by=_person())
    # Django's own mark of a new password; a hash that is only renewed at a login does not set it.
    elif getattr(instance, "_password", None) is not None:
        others = live.exclude(key_hash=current_key_hash())
        records.end(others, instance, End.PASSWORD, by=_person())


def _person() -> User | None:
    actor = current_actor()
    return User(pk=int(actor.id)) if actor.kind == "user" and actor.id.isdecimal() else None
