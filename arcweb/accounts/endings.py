"""Why the login page is shown, in a sentence."""

from __future__ import annotations

from django.conf import settings
from django.http import HttpRequest

#: How a session's record ended → what the login page says; the key stands in its address.
SENTENCES = {
    "revoked": "This session was revoked. If that was not you, ask an administrator; else log in again.",
    "idle": "You were logged out because nothing was done for {idle}. Log in to go on where you were.",
    "expired": "You were logged out because a login ends after {longest}. Log in to go on where you were.",
    "password": "The password of this account was changed, which ends its logins. Log in with the new one.",
    "deactivated": "This account was deactivated, which ends its logins. An administrator can activate it.",
    "restored": "A backup was put in the place of the database, which ends all logins. Log in again.",
}


def ended_sentence(request: HttpRequest) -> str:
    """What `?ended=…` means; "" for none, for anything unknown, and once a login was tried."""
    said = SENTENCES.get(request.GET.get("ended", ""), "") if request.method == "GET" else ""
    return said.format(
        idle=span(settings.ARC_SESSION_IDLE_SECONDS), longest=span(settings.ARC_SESSION_SECONDS)
    )


def span(seconds: int) -> str:
    """A length of time in its largest fitting unit: "2 hours", "90 minutes"."""
    for size, unit in ((86400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= size and seconds % size == 0:
            number = seconds // size
            return f"{number} {unit}{'' if number == 1 else 's'}"
    return f"{seconds} seconds"
