"""What people are told while a server is away: from memory, in words, to anybody and without addresses."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from django.db import InterfaceError, InternalError, OperationalError
from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.test import Client, RequestFactory

from arcweb import away, servers
from arcweb.away import AwayMiddleware, explain, trouble
from arcweb.postgres import ServerSilent, TooSlow
from arcweb.servers import NAMES, Finding, duration


@pytest.fixture
def all_well(web: list[str]) -> None:
    for name in NAMES:
        servers.board.note(name, Finding(True, "It answers."))


def note_away(name: Any, seconds: float = 750) -> None:
    """Since 12.5 minutes: said as 12 min for half a minute."""
    since = datetime.now(UTC) - timedelta(seconds=seconds)
    secret = "PostgreSQL (database arc at /secret/place) did not answer"
    servers.board.note(name, Finding(False, secret, "it does not answer", since=since))


def caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


def test_no_query_and_no_session_while_postgres_is_away(client: Client, all_well: None) -> None:
    # Without the mark django_db every query is an error.
    note_away("postgres")
    client.cookies["arc_session_8000"] = "a" * 32
    for path in ("/", "/login/", "/agents/agent/", "/nowhere/"):
        response = client.get(path)
        page = response.content.decode()
        assert response.status_code == 503
        assert response["Retry-After"] == "5"
        assert response["Cache-Control"] == "no-store"
        assert "PostgreSQL is away" in page
        assert "Away for" in page
        assert ">12 min<" in page
        assert "comes back by itself" in page
        assert "/secret/place" not in page
        assert "default-src 'none'" in response["Content-Security-Policy"]
        assert not response.cookies


def test_the_page_says_how_the_others_stand_and_keeps_the_theme(client: Client, all_well: None) -> None:
    note_away("postgres")
    note_away("redis-cache", 200)
    client.cookies["arc_theme"] = "dark"
    page = client.get("/").content.decode()
    assert 'data-theme="dark"' in page
    assert '<span class="state bad">Away for 3 min</span>' in page
    assert page.count('<span class="state good">Well</span>') == 3


def test_what_was_sent_is_told_to_be_lost(client: Client, all_well: None) -> None:
    note_away("postgres")
    page = client.post("/agents/agent/add/", {"name": "x"}).content.decode()
    assert "was not stored" in page
    assert 'data-reload="no"' in page
    assert "Try now" not in page


def test_a_fragment_gets_a_sentence(client: Client, all_well: None) -> None:
    note_away("postgres")
    response = client.get("/events/", headers={"HX-Request": "true"})
    assert response.status_code == 503
    assert response.content.decode() == "PostgreSQL is away for 12 min. It does not answer."


def test_state_is_public_and_names_no_address(client: Client, all_well: None) -> None:
    note_away("redis-state")
    note_away("postgres")
    response = client.get("/state/")
    assert response.status_code == 200
    told = response.json()
    assert {name: state["up"] for name, state in told.items()} == {
        "postgres": False, "redis-cache": True, "redis-state": False, "worker": True, "beat": True,
    }  # fmt: skip
    assert all(set(state) == {"up", "since"} for state in told.values())
    assert datetime.fromisoformat(told["postgres"]["since"]) < datetime.now(UTC)
    assert "no-store" in response["Cache-Control"]
    assert client.post("/state/").status_code == 405


def test_without_a_prober_all_is_unknown_and_nobody_is_kept_out(client: Client) -> None:
    assert {state["up"] for state in client.get("/state/").json().values()} == {None}
    assert servers.away() == []


@pytest.mark.parametrize(
    ("error", "found"),
    [
        (OperationalError("connection failed: Connection refused"), "lost"),
        (InterfaceError("connection already closed"), "lost"),
        (InterfaceError("the cursor is closed"), None),
        (caused(OperationalError("x"), psycopg.errors.AdminShutdown()), "lost"),
        (caused(OperationalError("x"), ServerSilent("away")), "lost"),
        (caused(OperationalError("x"), psycopg.errors.QueryCanceled()), "slow"),
        (caused(OperationalError("x"), psycopg.errors.DeadlockDetected()), None),
        (caused(OperationalError("x"), psycopg.errors.DiskFull()), "unwritable"),
        (caused(InternalError("x"), psycopg.errors.ReadOnlySqlTransaction()), "unwritable"),
        (caused(InternalError("x"), psycopg.errors.InFailedSqlTransaction()), None),
        (caused(OperationalError("x"), psycopg.errors.TooManyConnections()), "full"),
        (TooSlow(1.5), "slow"),
        (ValueError("connection"), None),
    ],
)
def test_only_lost_connections_and_limits_are_taken_for_what_they_are(error: Any, found: Any) -> None:
    assert trouble(error) == found


def test_a_connection_lost_in_mid_request_is_no_500(web: list[str]) -> None:
    def never(_request: HttpRequest) -> HttpResponse:
        raise AssertionError

    request = RequestFactory().post("/agents/agent/add/")
    lost = OperationalError("server closed the connection unexpectedly")
    response = AwayMiddleware(never).process_exception(request, lost)
    assert response is not None
    assert response.status_code == 503
    page = response.content.decode()
    assert "The connection to PostgreSQL was lost" in page
    assert "look before you send it again" in page
    assert web == ["postgres"]
    assert AwayMiddleware(never).process_exception(request, ValueError()) is None


def told_by_handler500(error: Exception) -> HttpResponse:
    """Django calls it while the error is being handled."""
    try:
        raise error  # noqa: TRY301
    except Exception:  # noqa: BLE001 - any
        return away.server_error(RequestFactory().get("/"))


def test_what_fails_outside_of_a_view_is_told_too() -> None:
    lost = told_by_handler500(OperationalError("server closed the connection unexpectedly"))
    assert lost.status_code == 503
    fault = told_by_handler500(ZeroDivisionError())
    assert fault.status_code == 500
    assert "This is a fault in ARC Web" in fault.content.decode()


def test_a_stopped_statement_names_its_limit() -> None:
    page = explain(RequestFactory().get("/"), "slow", seconds=10).content.decode()
    assert "longer than 10 s" in page
    assert "away.js" not in page, "to repeat it unasked would make things worse"


def test_the_banner_stands_only_while_something_is_away(all_well: None) -> None:
    assert render_to_string("admin/_away_banner.html").strip() == ""
    note_away("redis-cache")
    banner = render_to_string("admin/_away_banner.html")
    assert 'role="status"' in banner
    assert '<b>Redis (cache role)</b> has been away for <span class="num">12 min</span>' in banner
    assert "sessions are read from PostgreSQL meanwhile" in banner


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0 s"), (119.9, "119 s"), (120, "2 min"), (7199, "119 min"), (7200, "2 h"), (172_800, "2 days")],
)
def test_durations(seconds: float, words: str) -> None:
    assert duration(seconds) == words
