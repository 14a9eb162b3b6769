"""EXPLAIN is refused for whatever does more than read, by the server's own word, and changes nothing."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.db import connection

from arcweb.database.queries import explain as module
from arcweb.database.queries.explain import Refused, explain
from tests.waiting import until

pytestmark = pytest.mark.django_db(transaction=True)


def rows(statement: str, *params: object) -> list[tuple[object, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement, params or None)
        return list(cursor.fetchall()) if cursor.description else []


@pytest.fixture
def things() -> Iterator[None]:
    """A table, a sequence, functions, a view, an operator and an aggregate of the test's own."""
    rows("""
        CREATE SCHEMA explained;
        CREATE TABLE explained.things (id int PRIMARY KEY, name text);
        INSERT INTO explained.things SELECT n, 'thing ' || n FROM generate_series(1, 100) AS n;
        CREATE SEQUENCE explained.numbers;
        CREATE FUNCTION explained.writes() RETURNS int LANGUAGE sql
            AS 'DELETE FROM explained.things RETURNING 1';
        CREATE FUNCTION explained.liar(int) RETURNS int LANGUAGE plpgsql IMMUTABLE
            AS 'BEGIN PERFORM pg_notify(''x'', ''y''); RETURN nextval(''explained.numbers''); END';
        CREATE FUNCTION explained.adds(int, int) RETURNS int LANGUAGE plpgsql IMMUTABLE
            AS 'BEGIN RETURN nextval(''explained.numbers''); END';
        CREATE OPERATOR explained.## (LEFTARG = int, RIGHTARG = int, FUNCTION = explained.adds);
        CREATE AGGREGATE explained.gather(int) (SFUNC = explained.adds, STYPE = int, INITCOND = '0');
        CREATE VIEW explained.hiding AS SELECT nextval('explained.numbers') AS number;
        CREATE DOMAIN explained.odd AS int CHECK (explained.liar(VALUE) > 0);
        CREATE TYPE explained.pair AS (odd explained.odd, name text);
    """)
    yield
    rows("DROP SCHEMA explained CASCADE")


REFUSED = {
    "DELETE FROM explained.things": "DELETE is not explained",
    "/* SELECT */ DELETE FROM explained.things": "DELETE is not explained",
    "EXPLAIN ANALYZE DELETE FROM explained.things": "EXPLAIN is not explained",
    "CREATE TABLE explained.more AS SELECT 1": "CREATE is not explained",
    "COPY explained.things TO PROGRAM 'true'": "COPY is not explained",
    "CALL explained.writes()": "CALL is not explained",
    "SET ROLE postgres": "SET is not explained",
    "": "no statement",
    "-- nothing": "only a statement that reads",
    "SELECT 1; DELETE FROM explained.things": "cannot insert multiple commands",
    "SELECT 1;; COMMIT; DELETE FROM explained.things": "cannot insert multiple commands",
    "SELECT id INTO explained.more FROM explained.things": "changes something",
    "WITH gone AS (DELETE FROM explained.things RETURNING id) SELECT * FROM gone": "changes something",
    "WITH gone AS (SELECT 1) DELETE FROM explained.things": "changes something",
    "WITH a AS (SELECT 1) INSERT INTO explained.things SELECT 1000": "changes something",
    "SELECT * FROM explained.things FOR UPDATE": "locks rows",
    "SELECT * FROM (SELECT * FROM explained.things FOR SHARE) AS inner_": "locks rows",
    "SELECT explained.writes()": "explained.writes()",
    "SELECT explained.liar(1)": "explained.liar(integer)",
    "VALUES (explained.liar(1)), (2)": "explained.liar(integer)",
    "SELECT 1 OPERATOR(explained.##) 2": "explained.adds(integer,integer)",
    "SELECT explained.gather(id) FROM explained.things": "explained.adds(integer,integer)",
    "SELECT * FROM explained.hiding": "nextval(regclass)",
    "SELECT '1'::explained.odd": "domain",
    "SELECT 1::explained.odd": "domain",
    "SELECT name::explained.odd[] FROM explained.things": "domain",
    "SELECT name::explained.pair FROM explained.things": "domain",
    "SELECT jsonb_populate_record(NULL::explained.pair, '{\"odd\": 1}')": "domain",
    "SELECT * FROM jsonb_to_record('{\"odd\": 1}') AS found (odd explained.odd)": "domain",
    "SELECT * FROM JSON_TABLE(jsonb '1', '$' COLUMNS (odd explained.odd PATH '$'))": "domain",
    "SELECT JSON_VALUE(jsonb '1', '$' RETURNING explained.odd)": "domain",
    "SELECT pg_input_is_valid('1', 'explained.odd')": "pg_input_is_valid",
    "SELECT array_in('{1}'::cstring, 'explained.odd'::regtype, -1)::text": "array_in",
    "SELECT nextval('explained.numbers')": "nextval(regclass)",
    "SELECT setval('explained.numbers', 7)": "setval(regclass,bigint)",
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity": "pg_terminate_backend",
    "SELECT pg_cancel_backend(1)": "pg_cancel_backend",
    "SELECT set_config('transaction_read_only', 'off', false)": "set_config",
    "SELECT pg_reload_conf()": "pg_reload_conf",
    "SELECT pg_advisory_lock(1)": "pg_advisory_lock",
    "SELECT pg_notify('a', 'b')": "pg_notify",
    "SELECT pg_sleep(9)": "pg_sleep",
    "SELECT pg_read_file('PG_VERSION')": "pg_read_file",
    "SELECT lo_create(0)": "lo_create",
    "SELECT query_to_xml('SELECT nextval(''explained.numbers'')', true, true, '')": "query_to_xml",
    "SELECT table_to_xml('explained.hiding', true, true, '')": "table_to_xml",
    "SELECT * FROM explained.things WHERE id = (SELECT setval('explained.numbers', 9))": "setval",
    'SELECT U&"pg_\\0073leep"(1)': "pg_sleep",
    "SELECT 1 FROM nothing_of_that_name": "nothing_of_that_name",
    "SELECT (": "syntax error",
}


@pytest.mark.usefixtures("things")
@pytest.mark.parametrize("analyze", [False, True], ids=["plan", "run"])
def test_what_does_more_than_read_is_refused(analyze: bool) -> None:
    before = rows("SELECT last_value, is_called FROM explained.numbers")
    for statement, why in REFUSED.items():
        with pytest.raises(Refused) as refusal:
            explain(statement, analyze=analyze)
        assert why in str(refusal.value), statement
    assert rows("SELECT last_value, is_called FROM explained.numbers") == before
    assert rows("SELECT count(*) FROM explained.things") == [(100,)]
    assert rows("SELECT to_regclass('explained.more')") == [(None,)]
    held = "SELECT count(*) FROM pg_locks JOIN pg_database AS here ON here.oid = database AND "
    held += "datname = current_database() WHERE locktype = 'advisory' AND objid = 1"
    assert rows(held) == [(0,)]
    assert rows("SELECT count(*) FROM pg_stat_activity WHERE pid = pg_backend_pid()") == [(1,)]


@pytest.mark.usefixtures("things")
def test_the_second_line_holds_when_the_first_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the judgement lets through runs read-only, is rolled back, and its connection is closed."""
    monkeypatch.setattr(module, "_judge", lambda raw, tree: None)
    for statement in (
        "SELECT explained.writes()",
        "SELECT nextval('explained.numbers')",
        "WITH gone AS (DELETE FROM explained.things RETURNING id) SELECT * FROM gone",
        "SELECT * FROM explained.things FOR UPDATE",
        "SELECT set_config('transaction_read_only', 'off', false), explained.writes()",
    ):
        with pytest.raises(Refused):
            explain(statement, analyze=True)
    explain("SELECT pg_advisory_lock(424242), set_config('work_mem', '7MB', false)", analyze=True)
    # The server ends a session some moments after its client has closed the connection.
    until(
        lambda: rows("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 424242") == [(0,)]
    )
    assert rows("SELECT count(*) FROM explained.things") == [(100,)]
    assert rows("SELECT is_called FROM explained.numbers") == [(False,)]
    monkeypatch.setattr(module, "RUN_SECONDS", 0.2)
    with pytest.raises(Refused, match="did not end within"):
        explain("SELECT pg_sleep(9)", analyze=True)


@pytest.mark.usefixtures("things")
def test_what_reads_is_explained_and_measured() -> None:
    found = explain("SELECT * FROM explained.things WHERE name LIKE '%9' -- those", analyze=True)
    assert found.answer["Plan"]["Node Type"] == "Seq Scan"
    assert found.answer["Plan"]["Actual Rows"] == 10
    assert "Actual Rows" not in explain("TABLE explained.things;").answer["Plan"]
    for statement in (
        "VALUES (1), (2)",
        "(SELECT 1) UNION ALL (SELECT 2)",
        "WITH a AS (SELECT 1 AS one) SELECT count(*), max(one), row_number() OVER () FROM a GROUP BY one",
        "SELECT random(), now(), clock_timestamp(), gen_random_uuid()",
        "SELECT table_name FROM information_schema.tables",
        "SELECT * FROM pg_stat_activity JOIN pg_locks USING (pid)",
        "SELECT date_trunc('day', now()), lower(name) || 'a', name ~ 'b' FROM explained.things",
        "SELECT * FROM explained.things TABLESAMPLE bernoulli (10)",
        "SELECT to_tsvector('english', name) @@ to_tsquery('english', 'thing') FROM explained.things",
    ):
        assert explain(statement, analyze=True).answer["Plan"], statement


def test_a_vector_search_with_and_without_values() -> None:
    search = (
        'SELECT id, embedding <=> {} FROM "agents"."memories" WHERE agent_id = {} '
        "ORDER BY embedding <=> {} LIMIT 10"
    )
    found = explain(search.format("$1", "$2", "$1"))
    assert found.generic
    vector = "'[" + ",".join(["0.125"] * 1536) + "]'::vector"
    assert explain(search.format(vector, "gen_random_uuid()", vector), analyze=True).analyzed
    with pytest.raises(Refused, match="needs values"):
        explain(search.format("$1", "$2", "$1"), analyze=True)


@pytest.mark.usefixtures("things")
def test_errors_of_a_run_repeat_no_data() -> None:
    for statement, code in (
        ("SELECT name::int FROM explained.things", "22P02"),
        ("SELECT name::regclass FROM explained.things", "42"),
        ("SELECT current_setting(name) FROM explained.things", "42"),
    ):
        with pytest.raises(Refused) as refusal:
            explain(statement, analyze=True)
        assert f"SQLSTATE {code}" in str(refusal.value), statement
        assert "thing" not in str(refusal.value), statement


@pytest.mark.usefixtures("things")
def test_errors_of_planning_repeat_no_setting() -> None:
    """The planner computes what is constant, and that needs no ANALYZE."""
    for kind in ("int", "regclass"):
        with pytest.raises(Refused, match="while it was planned, with SQLSTATE") as refusal:
            explain(f"SELECT * FROM explained.things WHERE id = current_setting('DateStyle')::{kind}::int")
        assert "ISO" not in str(refusal.value)
