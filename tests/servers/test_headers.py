"""Every answer carries the security headers, whoever gives it."""

from __future__ import annotations

import pytest
from django.test import override_settings

from arcweb import servers
from arcweb.servers import Finding
from tests.people import client_of

HEADERS = {
    "Content-Security-Policy": "default-src 'none'",
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Permissions-Policy": "camera=()",
    "Strict-Transport-Security": "max-age=",
    "Cross-Origin-Opener-Policy": "same-origin",
}


@pytest.mark.django_db
@override_settings(SECURE_HSTS_SECONDS=3600)
@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/", 200),
        ("/login/", 302),
        ("/nowhere/", 404),
        ("/sessions/", 403),
        ("/state/", 200),
        ("/?a=%00", 400),
    ],
)
@pytest.mark.parametrize("away", [False, True])
def test_every_answer_has_them(path: str, status: int, away: bool, web: list[str]) -> None:
    client = client_of("viewer")
    if away:
        servers.board.note("postgres", Finding(False))
    answer = client.get(path, secure=True)
    assert answer.status_code == (503 if away and path != "/state/" else status)
    missing = [name for name, value in HEADERS.items() if value not in answer.headers.get(name, "")]
    assert not missing
