"""Statements as they are shown: secrets masked, vectors clipped, laid out; the tables that they name."""

from __future__ import annotations

import time

import pytest

from arcweb.database.queries.lexer import first_word, tokens
from arcweb.database.queries.texts import clipped, laid_out, masked, plannable, shown, tables

SECRET = "hush hush"


@pytest.mark.parametrize(
    "statement",
    [
        f"ALTER ROLE arc WITH LOGIN PASSWORD '{SECRET}'",
        f"alter user arc encrypted password e'{SECRET}\\''",
        f"CREATE ROLE x PASSWORD $pw${SECRET}$pw$",
        f"CREATE USER MAPPING FOR public SERVER s OPTIONS (user 'a', password '{SECRET}')",
        f"CREATE SUBSCRIPTION s CONNECTION 'host=a password=''{SECRET}'' user=b' PUBLICATION p",
        "SELECT dblink_connect('host=a password=hush user=b')",
        "SELECT 'postgres://someone:hush@host/db'",
        f"SET app.api_key TO '{SECRET}'",
        f"SELECT login(password => '{SECRET}')",
        f"DO $$ BEGIN EXECUTE 'ALTER ROLE x PASSWORD ''{SECRET}'''; END $$",
        "SELECT 1 /* token: hush */",
        "COMMENT ON TABLE x IS 'the secret=hush'",
        f"ALTER ROLE x PASSWORD '{SECRET}",
    ],
)
def test_secrets_are_masked(statement: str) -> None:
    said = masked(statement)
    assert "hush" not in said
    assert "********" in said


def test_what_is_no_secret_stays() -> None:
    for statement in (
        "SELECT * FROM users WHERE name = 'Ada' AND city = 'Paris'",
        "SELECT password FROM users WHERE name = 'Ada'",
        "CREATE TABLE x (note text DEFAULT 'nothing')",
        "SELECT \"a\"\"b\", $1, 'it''s', $$x$$ -- end",
    ):
        assert masked(statement) == statement


def test_vectors_are_clipped() -> None:
    numbers = ",".join(["0.5", "-1e-05"] * 768)
    assert clipped(f"SELECT '[{numbers}]'::vector") == "SELECT '[0.5,-1e-05,… 1536 numbers]'::vector"
    assert len(clipped(f"SELECT '[{numbers}")) < 60  # the text was cut, and it does not take for ever
    assert clipped("SELECT '[1,2,3]', ARRAY[1,2]") == "SELECT '[1,2,3]', ARRAY[1,2]"


def test_tokens_are_the_text_whatever_it_is() -> None:
    for text in (
        "SELECT /* a /* b */ c */ E'a\\'b' || $x$ $ $x$ || U&\"d\" -- e",
        "'open",
        '"open',
        "/* open",
        "$$ o",
        "",
    ):
        assert "".join(token.text for token in tokens(text)) == text
    assert first_word("/* SELECT */ -- x\n((delete from x") == "DELETE"
    assert first_word("1") == ""


def test_tables_that_a_statement_names() -> None:
    for statement, expected in {
        'SELECT * FROM "agents"."memories" m JOIN jobs_job ON true, pg_sleep(1), t2 WHERE x IN (1, y)': {
            "memories",
            "jobs_job",
            "t2",
        },
        "WITH a AS (SELECT 1 FROM b) SELECT extract(epoch FROM c), trim(d FROM e) FROM a": {"b"},
        "INSERT INTO x (a) SELECT 1 WHERE 1 IS DISTINCT FROM 2": {"x"},
        "UPDATE ONLY s.y SET a = 1 FROM z": {"y", "z"},
        "SELECT set_config($1, $2, $3)": set(),
    }.items():
        assert tables(statement) == expected


def test_a_long_line_is_laid_out_and_says_the_same() -> None:
    statement = (
        'SELECT "a"."id", (SELECT COUNT(*) FROM "b" U0 WHERE U0."x" = "a"."id") AS "n" FROM "a" '
        'LEFT OUTER JOIN c ON (c.id = a.c) WHERE "a"."type" = $1 ORDER BY 1 LIMIT $2'
    )
    lines = laid_out(statement).splitlines()
    assert len(lines) > 5
    assert " ".join(line.strip() for line in lines).replace("( SELECT", "(SELECT") == statement
    assert laid_out("SELECT 1") == "SELECT 1"
    assert laid_out("\n        SELECT 1\n        FROM x\n") == "SELECT 1\nFROM x"
    assert plannable("SELECT now() - interval $1, date $2") == "SELECT now() - $1::interval, $2::date"
    assert shown("ALTER ROLE x PASSWORD 'a'") == "ALTER ROLE x PASSWORD '********'"


def test_long_texts_take_time_in_proportion() -> None:
    """A list of thousands of values, and addresses without their @, once took the square of their length."""
    began = time.monotonic()
    values = ", ".join(f"${number}" for number in range(15_000))
    assert tables(f"SELECT * FROM one, two WHERE id IN ({values})") == {"one", "two"}
    addresses = f"SELECT 1 /* {'a://:' * 10_000} */"
    assert masked(addresses) == addresses
    assert time.monotonic() - began < 10
