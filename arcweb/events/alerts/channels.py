"""To whom alerts are sent: one channel for all e-mail addresses, and one for each webhook. From settings."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

from django.conf import settings


@dataclass(frozen=True)
class Channel:
    """`name` is kept with every delivery; `title` is for people. Neither holds a secret: the path and the
    query of a webhook's address often are one. `address` is for the sender alone."""

    name: str  #: "email", "webhook:3f2a9c41d0b7"
    kind: Literal["email", "webhook"]
    title: str
    address: str = ""

    def __repr__(self) -> str:
        return f"Channel({self.name!r})"


def channels() -> list[Channel]:
    """Every channel, in the order of the settings."""
    found = []
    if settings.ARC_ALERT_EMAILS:
        log = "" if settings.EMAIL_HOST else " (no ARC_EMAIL_HOST: into the log)"
        found.append(Channel("email", "email", f"E-mail to {', '.join(settings.ARC_ALERT_EMAILS)}{log}"))
    for address in dict.fromkeys(settings.ARC_ALERT_WEBHOOKS):
        digest = hashlib.sha256(address.encode()).hexdigest()[:12]
        found.append(Channel(f"webhook:{digest}", "webhook", f"Webhook {masked(address)}", address))
    return found


def find_channel(name: str) -> Channel | None:
    return next((channel for channel in channels() if channel.name == name), None)


def masked(address: str) -> str:
    """ "https://hooks.example.org/…": scheme, host and port; what follows may be a secret."""
    try:
        parts = urlsplit(address)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return "with an address that cannot be read"
    shown = f"[{host}]" if ":" in host else host
    rest = "/…" if parts.path.strip("/") or parts.query or parts.fragment else "/"
    return f"{parts.scheme}://{shown}{f':{port}' if port else ''}{rest}"
