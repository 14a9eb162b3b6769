"""The page Activity."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import psycopg
import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from arcweb.database import standing
from arcweb.database.activity import alarms, looks, sessions
from tests.database.activity.conftest import Other
from tests.people import client_of
from tests.waiting import until

pytestmark = pytest.mark.django_db
Make = Callable[..., Other]
PAGE = "/postgres/activity/"


def said(role: str = "operator", **query: object) -> str:
    answer = client_of(role).get(PAGE, query)
    assert answer.status_code == 200
    return answer.content.decode()


def test_a_forgotten_transaction_is_flagged_until_it_ends(
    other: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "IDLE_IN_TRANSACTION", 0.01)
    everybody = sessions.listed
    # Those of the tests beside this one are idle in transactions too, under so low a threshold.
    monkeypatch.setattr(
        sessions,
        "listed",
        lambda *asked: [one for one in everybody(*asked) if one.application == "forgetful"],
    )
    forgotten = other("forgetful")
    forgotten.run("SELECT 1")
    until(lambda: forgotten.session().forgotten)
    (finding,) = [one for one in looks.activity_findings() if "forgetful" in one.sentence]
    assert finding.state == "warn"
    assert finding.statement == f"SELECT pg_terminate_backend({forgotten.pid});"
    page = said(q="forgetful")
    assert "has been idle in transaction for" in page
    assert finding.statement in page
    reading = alarms.idle_in_transaction()
    assert reading is not None
    assert reading.value > 0
    forgotten.raw.rollback()
    assert not [one for one in looks.activity_findings() if "forgetful" in one.sentence]
    assert "has been idle in transaction for" not in said(q="forgetful")


def test_a_long_statement_is_flagged_until_it_ends(other: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "LONG_STATEMENT", 0.05)
    slow = other("slow-one", autocommit=True)
    thread = slow.begin("SELECT pg_sleep(60)")
    until(lambda: slow.session().long)
    assert "has been running one statement for" in said()
    reading = alarms.long_statement()
    assert reading is not None
    assert reading.value >= 0.05
    slow.raw.cancel()
    thread.join(60)
    assert not [one for one in looks.activity_findings() if "slow-one" in one.sentence]


def test_the_list_is_reduced_by_what_is_asked(other: Make) -> None:
    other("first-one").run("SELECT 1")
    sleeper = other("second-one", autocommit=True)
    sleeper.begin("SELECT pg_sleep(60)")
    until(lambda: sleeper.session().active)
    assert "first-one" in said()
    assert "checkpointer" not in said()
    assert "checkpointer" in said(kind="background")
    active = said(state="active", longer="0.001")
    assert "second-one" in active
    assert "first-one" not in active
    assert "first-one" in said(state="idle-in-transaction", user="arc")
    assert "No session is like that" in said(q="nobody-at-all")
    assert "No session is like that" in said(database="no-such-database")
    assert client_of("viewer").get(PAGE, {"state": "odd"}).status_code == 400
    assert client_of("viewer").get(PAGE, {"longer": "nan"}).status_code == 400
    assert client_of("").get(PAGE).status_code == 403


def test_the_text_of_statements_is_for_those_who_may_see_it(other: Make) -> None:
    secret = "SELECT 'a customer <b>' /* " + "long " * 150 + " the end */"
    one = other("customer", autocommit=True).run(secret)
    session = one.session()
    page = f"{PAGE}{session.pid}/{session.started}/"
    listed = said(q="customer")
    assert "a customer &lt;b&gt;" in listed
    assert "the end" not in listed, "a list shows the beginning"
    assert "the end" in client_of("operator").get(page).content.decode()
    assert "a customer" not in said("viewer", q="customer")
    assert "a customer" not in client_of("viewer").get(page).content.decode()


def test_a_password_in_a_statement_is_shown_nowhere(other: Make) -> None:
    one = other("careless", autocommit=True)
    with suppress(psycopg.Error):
        one.run("ALTER ROLE nobody_of_that_name PASSWORD 'hunter2'")
    session = one.session()
    page = client_of("operator").get(f"{PAGE}{session.pid}/{session.started}/").content.decode()
    for text in (page, said(q="careless")):
        assert "nobody_of_that_name PASSWORD" in text
        assert "hunter2" not in text


def test_a_refresh_gives_the_table_and_the_verdict_alone(db: None) -> None:
    part = client_of("viewer").get(PAGE, headers={"HX-Request": "true", "HX-Target": "live"}).content.decode()
    assert "<html" not in part
    assert 'id="verdict"' in part
    assert "hx-swap-oob" in part


def test_the_number_of_queries_does_not_grow(other: Make) -> None:
    browser = client_of("operator")
    browser.get(PAGE)

    def queries() -> int:
        with CaptureQueriesContext(connection) as captured:
            browser.get(PAGE)
        return len(captured)

    before = queries()
    for number in range(10):
        other(f"one-of-many-{number}").run("SELECT 1")
    assert queries() == before


def test_what_may_not_be_seen_is_unknown_and_never_well(other: Make) -> None:
    """As a role without pg_monitor sees it."""
    with connection.cursor() as cursor:
        other("unseen", autocommit=True).run("SELECT 1")
        cursor.execute("SET LOCAL ROLE pg_signal_backend")
        standing.forget()
        try:
            findings = looks.activity_findings()
            assert [one.state for one in findings] == ["unknown"]
            assert "GRANT pg_monitor TO" in findings[0].sentence
            assert alarms.idle_in_transaction() is None
            hidden = next(one for one in sessions.listed() if one.application == "unseen")
            assert hidden.hidden
            assert hidden.untouchable
        finally:
            cursor.execute("RESET ROLE")
