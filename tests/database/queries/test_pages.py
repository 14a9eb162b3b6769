"""The pages Queries: a slow statement is seen, filtered, sorted; texts and passwords are kept from others."""

from __future__ import annotations

import re

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from arcweb.database.queries import snapshots, statistics
from arcweb.events.models import Event
from tests.people import client_of

pytestmark = [pytest.mark.django_db, pytest.mark.xdist_group("pg_stat_statements")]
PAGE = "/postgres/queries/"


def run(statement: str, times: int = 1) -> None:
    with connection.cursor() as cursor:
        for _ in range(times):
            cursor.execute(statement)


def body(page: str = PAGE, who: str = "operator", status: int = 200, **query: str) -> str:
    response = client_of(who).get(page, query)
    assert response.status_code == status
    return response.content.decode()


def table(**asked: str) -> str:
    """The lines of the list."""
    return body(**asked).partition("<tbody>")[2].partition("</tbody>")[0]


def queryid(word: str) -> int:
    return next(key.queryid for key, entry in statistics.read().entries.items() if word in entry.text)


@pytest.fixture
def slow() -> str:
    """A statement that is slow, called often enough for its mean to count."""
    run("CREATE TABLE slow_probe AS SELECT 1 AS one")
    run("SELECT count(*) FROM slow_probe, pg_sleep(0.11)", 20)
    return "slow_probe"


@pytest.mark.usefixtures("slow")
def test_a_slow_statement_is_seen_on_its_page_and_gone_after_the_period() -> None:
    snapshots.take()
    connection.cursor().execute(
        "UPDATE database_querysnapshot SET entries = '{}', known = 0, read_at = read_at - interval '30 min', "
        "taken_at = taken_at - interval '30 min'"
    )
    said = body(q="slow_probe")
    assert "in the last hour" in said
    assert "slow_probe" in said
    assert 'class="state warn"' in said
    page = body(f"{PAGE}{queryid('FROM slow_probe')}/")
    assert "Slow" in page
    assert "20 calls" in page
    connection.cursor().execute("DELETE FROM database_querysnapshot")
    snapshots.take()  # from here on nothing is slow
    assert "No statement was slow in the last hour" in body()
    assert "slow_probe" not in table(period="hour")


def test_words_roles_sorts_and_housekeeping() -> None:
    run('SELECT count(*) AS agents_probe, min(config::text) FROM "agents"."agents"', 3)
    run("SELECT count(*) AS jobs_probe, max(done), min(kind) FROM jobs_job", 3)
    assert "agents_probe" in table(period="reset", q="count agents_probe")
    assert "jobs_probe" not in table(period="reset", q="count agents_probe")
    assert "ARC Web\N{RIGHT SINGLE QUOTATION MARK}s own" in table(period="reset", q="jobs_probe")
    assert "jobs_probe" not in table(period="reset", whose="others", q="_probe")
    assert "jobs_probe" in table(period="reset", whose="own", q="_probe")
    assert "agents_probe" not in table(period="reset", whose="own", q="_probe")
    for sort in ("hit", "wal", "nonsense"):
        body(period="reset", sort=sort)
    assert "fits what was asked" in body(period="reset", role="nobody_of_that_name")
    body(since="2026-01-01T00:00:00+00:00")
    body(since="nonsense", period="nonsense")


def test_texts_are_for_those_who_may_see_them() -> None:
    run("CREATE TABLE secret_probe ()")
    run("SELECT count(*) FROM secret_probe")
    assert "secret_probe" in table(period="reset", q="secret_probe")
    assert "secret_probe" not in table(who="viewer", period="reset")
    assert "fits what was asked" not in body(who="viewer", period="reset", q="no_such_word_at_all")
    page = body(f"{PAGE}{queryid('FROM secret_probe')}/", who="viewer")
    assert "secret_probe" not in page
    assert (
        client_of("viewer")
        .post(f"{PAGE}{queryid('FROM secret_probe')}/", {"statement": "SELECT 1"})
        .status_code
        == 403
    )
    assert client_of("viewer").get(f"{PAGE}explain/").status_code == 403
    assert client_of("").get(PAGE).status_code == 403


def test_passwords_are_masked_everywhere() -> None:
    run("CREATE TABLE mask_probe (password text)")
    run("COMMENT ON TABLE mask_probe IS 'password=geheim123'")
    said = body(period="reset", q="mask_probe")
    assert "COMMENT ON TABLE" in said
    assert "geheim123" not in said
    assert "geheim123" not in body(f"{PAGE}{queryid('COMMENT ON TABLE mask_probe')}/")
    assert "fits what was asked" in body(period="reset", q="geheim123")


def test_a_plan_is_made_on_the_page_and_shown_as_a_tree() -> None:
    run('SELECT name FROM "agents"."agents" WHERE type = \'plan_probe\'')
    page = f"{PAGE}{queryid('SELECT name FROM')}/"
    operator = client_of("operator")
    shown = operator.get(page).content.decode()
    statement = re.search(r"(?s)<textarea[^>]*>(.*?)</textarea>", shown)
    assert statement is not None
    assert "$1" in statement[1]
    planned = operator.post(page, {"statement": 'SELECT name FROM "agents"."agents" WHERE type = $1'})
    assert "Not run: the figures are estimates" in planned.content.decode()
    assert "agents.agents" in planned.content.decode()
    assert not Event.objects.filter(kind="statement.measured").exists()
    run_ = operator.post(
        page, {"statement": "SELECT count(*) FROM pg_class", "analyze": "on"}
    ).content.decode()
    assert "Ran for" in run_
    assert "Execution Time" in run_
    assert Event.objects.filter(kind="statement.measured").count() == 1
    refused = operator.post(
        f"{PAGE}explain/", {"statement": "DELETE FROM x", "analyze": "on"}
    ).content.decode()
    assert "DELETE is not explained here" in refused
    assert Event.objects.filter(kind="statement.measured").count() == 1


def test_a_statement_that_is_gone_and_an_address_that_is_none() -> None:
    assert "knows this statement no more" in body(f"{PAGE}-77/", status=404)
    assert client_of("operator").get(f"{PAGE}99999999999999999999/").status_code == 404


def test_the_same_number_of_queries_however_many_statements() -> None:
    operator = client_of("operator")
    operator.get(PAGE, {"period": "reset"})
    with CaptureQueriesContext(connection) as few:
        operator.get(PAGE, {"period": "reset"})
    for number in range(150):
        run(f"SELECT {' * '.join(['1'] * (number + 2))}")
    with CaptureQueriesContext(connection) as many:
        operator.get(PAGE, {"period": "reset"})
    assert len(many) == len(few)
