"""Counts and hashes of tables: the same for the same rows, another for any other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from arcweb.backups import content, server
from arcweb.backups.content import BATCH
from tests.backups.dump.conftest import new_database

TABLE = """
    CREATE TABLE t (
        id int, text text, at timestamptz, day date, span interval, num numeric, real float8, small float4,
        bytes bytea, doc jsonb, raw json, list text[], v vector(3), h halfvec(3), s sparsevec(5),
        tsv tsvector, flag boolean, address inet, range tstzrange,
        twice int GENERATED ALWAYS AS (id * 2) STORED
    )
"""
ROW = """
    INSERT INTO t SELECT i, E'a\\tb\\\\' || i,
        '2026-01-01 00:00:00.123456+02'::timestamptz + i * interval '1 day',
        '2026-02-03', '1 mon 2 days 03:04:05.6', 1e30 + i, 0.1::float8 + 0.2::float8, 0.1, '\\xdeadbeef',
        '{"b": 1, "a": 1.50}',
        '{"b": 1,  "a": 2}', ARRAY['x', NULL, 'NULL'], ARRAY[0.1, 0.2, i]::vector, '[1,2,3]', '{1:1,3:2}/5',
        'a b', true, '10.0.0.1', '[2026-01-01,)'
    FROM generate_series(1, 10) AS i
"""


@pytest.fixture(scope="module")
def database(django_db_setup: None, django_db_blocker: Any) -> Iterator[str]:
    with django_db_blocker.unblock(), new_database() as name:
        yield name


@pytest.fixture
def session(database: str) -> Iterator[psycopg.Connection[Any]]:
    """In a transaction of its own, which is rolled back."""
    with server.connect(database, autocommit=False) as opened:
        opened.execute(TABLE)
        opened.execute(ROW)
        yield opened
        opened.rollback()


def of(session: psycopg.Connection[Any], name: str = "t") -> tuple[int, str]:
    found = next(table for table in content.look(session).tables if table.name == name)
    return found.rows, found.sha256


def test_order_of_rows_and_columns_and_the_sessions_settings_do_not_matter(
    session: psycopg.Connection[Any],
) -> None:
    first = of(session)
    assert first[0] == 10
    session.execute("CREATE TABLE u AS SELECT * FROM t ORDER BY id DESC")
    assert of(session, "u") == first
    names = [
        name
        for (name,) in session.execute(
            "SELECT attname FROM pg_attribute WHERE attrelid = 't'::regclass AND attnum > 0"
        )
    ]
    session.execute(f"CREATE TABLE w AS SELECT {', '.join(sorted(names, reverse=True))} FROM t")
    session.execute("ALTER TABLE w ADD gone int; ALTER TABLE w DROP gone")
    assert of(session, "w") == first
    for setting in (
        "TimeZone = 'Asia/Kolkata'",
        "DateStyle = 'German'",
        "IntervalStyle = 'iso_8601'",
        "bytea_output = 'escape'",
        "extra_float_digits = -4",
        "search_path = public, pg_catalog",
    ):
        session.execute(f"SET LOCAL {setting}")
        assert of(session) == first, setting


@pytest.mark.parametrize(
    "change",
    [
        "DELETE FROM t WHERE id = 5",
        "INSERT INTO t SELECT * FROM t WHERE id = 5",
        "UPDATE t SET v = '[0.1,0.2,5.0000005]' WHERE id = 5",
        "UPDATE t SET h = '[1,2,4]' WHERE id = 5",
        "UPDATE t SET text = NULL WHERE id = 5",
        "UPDATE t SET text = text || ' ' WHERE id = 5",
        "UPDATE t SET real = real + 1e-16 WHERE id = 5",
        "UPDATE t SET at = at + interval '1 microsecond' WHERE id = 5",
        'UPDATE t SET raw = \'{"b": 1, "a": 2}\' WHERE id = 5',
        "UPDATE t SET v = NULL WHERE id = 5",
        "UPDATE t SET id = CASE id WHEN 5 THEN 6 ELSE 5 END WHERE id IN (5, 6)",
    ],
)
def test_every_change_of_a_row_changes_the_hash(change: str, session: psycopg.Connection[Any]) -> None:
    first = of(session)
    insert = change.replace("SELECT *", "SELECT " + ", ".join(_plain(session)))
    session.execute(insert.replace("INTO t ", f"INTO t ({', '.join(_plain(session))}) "))
    assert of(session) != first


def _plain(session: psycopg.Connection[Any]) -> list[str]:
    found = session.execute(
        "SELECT attname FROM pg_attribute WHERE attrelid = 't'::regclass AND attnum > 0 AND attgenerated = ''"
    )
    return [name for (name,) in found]


def test_a_value_of_a_type_without_a_binary_form_counts_too(session: psycopg.Connection[Any]) -> None:
    session.execute("CREATE TABLE rights (x int, a aclitem); INSERT INTO rights VALUES (1, '=r/arc')")
    first = of(session, "rights")
    session.execute("UPDATE rights SET a = '=rw/arc'")
    assert of(session, "rights") != first


def test_rows_of_a_table_that_inherits_count_once(session: psycopg.Connection[Any]) -> None:
    session.execute(
        "CREATE TABLE elder (x int); CREATE TABLE younger () INHERITS (elder);"
        "INSERT INTO elder VALUES (1); INSERT INTO younger VALUES (2), (3)"
    )
    assert (of(session, "elder")[0], of(session, "younger")[0]) == (1, 2)


def test_an_empty_string_is_not_null_and_columns_do_not_run_into_each_other(
    session: psycopg.Connection[Any],
) -> None:
    session.execute("CREATE TABLE a AS SELECT ''::text AS x, 'b'::text AS y")
    session.execute("CREATE TABLE b AS SELECT NULL::text AS x, 'b'::text AS y")
    session.execute("CREATE TABLE c AS SELECT 'a,b'::text AS x, ''::text AS y")
    session.execute("CREATE TABLE d AS SELECT 'a'::text AS x, 'b,'::text AS y")
    assert len({of(session, name) for name in "abcd"}) == 4


def test_the_sum_is_right_over_many_blocks(session: psycopg.Connection[Any]) -> None:
    many = 2 * BATCH + 5
    session.execute(f"CREATE TABLE m AS SELECT i AS x FROM generate_series(1, {many}) AS i")
    digests = session.execute("SELECT sha256(convert_to(ROW(x)::text, 'UTF8')) FROM m").fetchall()
    total = sum(int.from_bytes(digest) for (digest,) in digests) % (1 << 256)
    assert of(session, "m") == (many, f"{total:064x}")
    session.execute("CREATE TABLE none ()")
    assert of(session, "none") == (0, "0" * 64)


def test_tables_of_users_partitions_and_large_objects_but_no_extensions(
    session: psycopg.Connection[Any],
) -> None:
    session.execute(
        'CREATE SCHEMA "Odd ""one"; CREATE TABLE "Odd ""one"."t %s" (x int);'
        'CREATE TABLE "Odd ""one".p (x int) PARTITION BY LIST (x);'
        'CREATE TABLE "Odd ""one".p1 PARTITION OF "Odd ""one".p FOR VALUES IN (1);'
        'INSERT INTO "Odd ""one".p VALUES (1); CREATE SEQUENCE q; CREATE SEQUENCE r; SELECT nextval(\'q\');'
        "CREATE TEMP TABLE fleeting (x int)"
    )
    before = content.look(session)
    assert [(one.schema, one.name, one.rows, one.parent) for one in before.tables] == [
        ('Odd "one', "p1", 1, 'Odd "one.p'),
        ('Odd "one', "t %s", 0, ""),
        ("public", "t", 10, ""),
    ]
    assert [(one.name, one.last) for one in before.sequences] == [("q", 1), ("r", None)]
    session.execute("SELECT lo_from_bytea(4711, 'large')")
    (large,) = [one for one in content.look(session).tables if one not in before.tables]
    assert (large.name, large.rows) == ("pg_largeobject", 1)
    session.execute("SELECT lo_put(4711, 0, 'L')")
    assert [one for one in content.look(session).tables if one not in before.tables] != [large]


def test_rows_that_a_policy_hides_are_an_error(session: psycopg.Connection[Any]) -> None:
    session.execute("ALTER TABLE t ENABLE ROW LEVEL SECURITY; ALTER TABLE t FORCE ROW LEVEL SECURITY")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        content.look(session)
