"""Plans as trees with words for what is wrong, and the indexes that are suggested from them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.db import connection

from arcweb.database.queries import suggestions
from arcweb.database.queries.explain import explain
from arcweb.database.queries.plans import plan
from arcweb.database.queries.suggestions import Suggestion, for_plan
from tests.people import client_of

pytestmark = pytest.mark.django_db(transaction=True)
ROWS = 30_000


def run(*statements: str) -> None:
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


@pytest.fixture
def big() -> Iterator[None]:
    """A table that is large enough, read whole, with statistics."""
    suggestions.forget()
    run(
        "CREATE SCHEMA planned",
        "CREATE TABLE planned.owners (id int PRIMARY KEY)",
        "INSERT INTO planned.owners SELECT generate_series(1, 100)",
        'CREATE TABLE planned.big (id int PRIMARY KEY, customer int, "State" text, '
        "flag boolean, at timestamptz)",
        f"INSERT INTO planned.big SELECT n, n % 3000, 'state ' || n % 3000, n % 2 = 0, now() "
        f"FROM generate_series(1, {ROWS}) AS n",
        "ANALYZE planned.big",
    )
    yield
    run("DROP SCHEMA planned CASCADE")
    suggestions.forget()


def of(statement: str, *, analyze: bool = False) -> list[Suggestion]:
    return for_plan(explain(statement, analyze=analyze).answer, 5)


@pytest.mark.usefixtures("big")
def test_an_index_is_suggested_with_its_reason_and_gone_once_it_is_there() -> None:
    for statement in (
        "SELECT * FROM planned.big WHERE customer = $1",
        "SELECT * FROM planned.big AS b WHERE b.flag AND b.customer = 7",
        "SELECT count(*) FROM planned.big JOIN planned.owners ON owners.id = big.id WHERE big.customer = 7",
    ):
        [one] = of(statement)
        assert one.columns == ("customer",)
        assert f"{ROWS:,} rows of planned.big" in one.reason
        assert one.statement == (
            'CREATE INDEX CONCURRENTLY "idx_big_customer" ON "planned"."big" ("customer");'
        )
        assert one.queryids == (5,)
    [one] = of("SELECT * FROM planned.big WHERE \"State\" = 'state 4' AND customer = 4 AND at > now()")
    assert set(one.columns) == {"State", "customer", "at"}
    assert one.columns[-1] == "at"  # what is compared for a range comes last
    [one] = of("SELECT * FROM planned.big WHERE customer = 7", analyze=True)
    assert "of which 10 are kept" in one.reason
    run(one.statement)
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_relation_size('planned.idx_big_customer')")
        [size] = cursor.fetchone()
    assert size / 3 < one.bytes < size * 3
    assert of("SELECT * FROM planned.big WHERE customer = 7") == []


@pytest.mark.usefixtures("big")
def test_nothing_is_suggested_where_an_index_would_not_help() -> None:
    for statement in (
        "SELECT * FROM planned.big WHERE flag",
        "SELECT * FROM planned.big WHERE customer > 10",
        "SELECT * FROM planned.big WHERE id = 7",
        "SELECT * FROM planned.big WHERE customer = 7 OR id = 8",
        "SELECT * FROM planned.big WHERE customer = id AND flag",
        "SELECT * FROM planned.big WHERE customer + 1 = 7",
        "SELECT * FROM planned.big WHERE lower(\"State\") = 'a AND customer = 3'",
        "SELECT * FROM planned.owners WHERE id + 0 = 7",
        "SELECT count(*) FROM planned.big",
    ):
        assert of(statement) == [], statement


@pytest.mark.usefixtures("big")
def test_an_index_is_not_suggested_beside_one_that_serves_but_is_not_used() -> None:
    run("CREATE INDEX ON planned.big (customer, at)")
    answer = {
        "Plan": {
            "Node Type": "Seq Scan", "Relation Name": "big", "Schema": "planned", "Alias": "big",
            "Filter": "(big.customer = 7)", "Plan Rows": 10, "Total Cost": 1.0,
        }
    }  # fmt: skip
    assert for_plan(answer) == []
    answer["Plan"]["Filter"] = "(big.at = now())"
    assert [one.columns for one in for_plan(answer)] == [("at",)]
    run("CREATE INDEX ON planned.big (at) WHERE flag")  # serves some of it only
    assert len(for_plan(answer)) == 1


@pytest.mark.usefixtures("big")
def test_the_whole_database_by_its_costly_statements_and_foreign_keys() -> None:
    for _ in range(suggestions.LEAST_SCANS + 1):
        run("SELECT count(*) FROM planned.big WHERE customer = 7")
    run("SELECT pg_stat_force_next_flush()")
    found = [one for one in suggestions.suggestions() if one.table == "big"]
    assert [one.columns for one in found] == [("customer",)]
    [queryid] = found[0].queryids
    page = client_of("operator").get(f"/postgres/queries/{queryid}/").content.decode()
    assert "CREATE INDEX CONCURRENTLY &quot;idx_big_customer&quot;" in page
    assert "CREATE INDEX CONCURRENTLY" in client_of("operator").get("/postgres/queries/").content.decode()
    assert "CREATE INDEX" not in client_of("viewer").get("/postgres/queries/").content.decode()
    run(found[0].statement)
    run(
        "ALTER TABLE planned.big ADD owner int REFERENCES planned.owners",
        "ANALYZE planned.big",
    )
    suggestions.forget()
    [one] = [one for one in suggestions.suggestions() if one.table == "big"]
    assert one.columns == ("owner",)
    assert "foreign key" in one.reason
    assert f"{ROWS:,}" in one.reason


@pytest.mark.usefixtures("big")
def test_a_wrong_estimate_is_told_in_words_with_what_mends_it() -> None:
    run(
        "CREATE TABLE planned.stale (id int) WITH (autovacuum_enabled = false)",
        "INSERT INTO planned.stale VALUES (1)",
        "ANALYZE planned.stale",
        "UPDATE planned.stale SET id = 1",
        "INSERT INTO planned.stale SELECT 5 FROM generate_series(1, 50000)",
    )
    found = plan(explain("SELECT * FROM planned.stale WHERE id = 5", analyze=True).answer)
    assert found.statement == "ANALYZE planned.stale;"
    assert "got 50,000" in found.findings[0]
    assert found.nodes[-1].worst
    assert "expected" in found.nodes[0].rows_in_words
    run("ANALYZE planned.stale")
    better = plan(explain("SELECT * FROM planned.stale WHERE id = 5", analyze=True).answer)
    assert better.statement == ""
    assert not any("got" in sentence for sentence in better.findings)


@pytest.mark.usefixtures("big")
def test_the_tree_has_every_step_with_its_share() -> None:
    found = plan(
        explain(
            "WITH a AS MATERIALIZED (SELECT * FROM planned.big WHERE flag) "
            "SELECT customer, count(*) FROM a JOIN planned.owners ON owners.id = a.customer "
            "WHERE a.id > (SELECT min(id) FROM planned.owners) GROUP BY 1 ORDER BY 2 DESC LIMIT 5",
            analyze=True,
        ).answer
    )
    assert 99 < sum(node.share for node in found.nodes) < 101
    assert found.nodes[0].kind == "Limit"
    assert all(node.own >= 0 for node in found.nodes)
    assert any("planned.big" in node.title for node in found.nodes)
    assert "Execution Time" in found.as_text
    assert '"Node Type": "Limit"' in found.as_json
    planned = plan(explain("SELECT 1").answer)
    assert not planned.analyzed
    assert planned.findings == []


def test_vectors_are_clipped_in_plans() -> None:
    vector = "'[" + ",".join(["0.125"] * 1536) + "]'::vector"
    found = plan(
        explain(
            f'SELECT id FROM "agents"."memories" ORDER BY embedding <=> {vector} LIMIT 3', analyze=True
        ).answer
    )
    assert "1536 numbers" in found.as_text
    assert "1536 numbers" in found.as_json
    assert len(found.as_text) < 3000
