"""SQL of entries from outside: the forms of pg_dump, and nothing beside them."""

from __future__ import annotations

from io import BytesIO

import pytest

from arcweb.backups import entries
from arcweb.backups.proving import archive, statements
from tests.backups.proving.conftest import Sample


def test_what_pg_dump_writes_is_taken(source: Sample) -> None:
    items = archive.read(BytesIO(source.custom)).items
    choice = entries.from_outside(items)
    assert choice.refused == []
    kinds = {item.kind for item in choice.taken}
    assert kinds == {
        *("SCHEMA", "TYPE", "FUNCTION", "TABLE", "TABLE ATTACH", "SEQUENCE", "SEQUENCE OWNED BY", "DEFAULT"),
        *("TABLE DATA", "SEQUENCE SET", "CONSTRAINT", "FK CONSTRAINT", "INDEX", "INDEX ATTACH", "TRIGGER"),
        "COMMENT",
    }


@pytest.mark.parametrize(
    ("kind", "sql"),
    [
        ("SCHEMA", "CREATE SCHEMA a CREATE VIEW v AS SELECT pg_sleep(1);"),
        ("TABLE", "CREATE TABLE a.b (i integer); DROP DATABASE arc;"),
        ("TABLE", "CREATE TABLE a.b AS SELECT pg_terminate_backend(1);"),
        ("TABLE", "CREATE TABLE a.b (i) AS SELECT pg_terminate_backend(1);"),
        ("TABLE", "CREATE TABLE a.b AS EXECUTE somebody;"),
        ("TABLE", "CREATE TABLE a.b PARTITION OF a.c FOR VALUES IN (pg_backend_pid());"),
        ("TABLE", "CREATE TEMPORARY TABLE b (i integer);"),
        ("TABLE", "CREATE FOREIGN TABLE a.b (i integer) SERVER s;"),
        ("TABLE", "ALTER TABLE a.b ALTER COLUMN c TYPE integer USING pg_terminate_backend(1)::integer;"),
        ("TABLE", "ALTER TABLE a.b ALTER COLUMN c SET STORAGE MAIN, DISABLE TRIGGER ALL;"),
        ("TABLE", "ALTER TABLE a.b OWNER TO postgres;"),
        ("TABLE", "COPY a.b FROM PROGRAM 'id';"),
        ("TABLE", "DO $$ BEGIN PERFORM pg_sleep(1); END $$;"),
        ("TABLE", ""),
        ("TABLE", "-- nothing\n"),
        (
            "TABLE",
            "CREATE TABLE a.b (i text DEFAULT E'a\\'); DROP DATABASE arc; --');  DROP DATABASE arc; --');",
        ),
        ("TABLE", "CREATE TABLE a.b (i text DEFAULT U&'!0041' UESCAPE '!');"),
        ("TABLE", "CREATE TABLE a.b (i text) /* ' */; DROP DATABASE arc; /* ' */;"),
        ("TABLE", "CREATE TABLE a.b (i text DEFAULT E'a'\n'b\\'); DROP DATABASE arc; --');"),
        # Within brackets, where what a statement says is not looked at: it must end where PostgreSQL ends it.
        ("TABLE", "CREATE TABLE a.b (i text /* ' */); DROP DATABASE arc; --');"),
        ("TABLE", "CREATE TABLE a.b (i text DEFAULT E'a'\n'\\''); DROP DATABASE arc; --');"),
        ("TABLE", "CREATE TABLE a.b (i integer[)];"),
        ("TABLE", "CREATE TABLE a.b (i text DEFAULT 'no end);"),
        ("TABLE", "CREATE TABLE a.b (i text DEFAULT $x$no end);"),
        ("TABLE", "CREATE TABLE a.b (i integer]);"),
        ("TABLE", "CREATE TABLE a.b (i integer"),
        ("TABLE ATTACH", "ALTER TABLE ONLY a.b ATTACH PARTITION a.c FOR VALUES IN (pg_backend_pid());"),
        ("TABLE ATTACH", "ALTER TABLE ONLY a.b ATTACH PARTITION a.c FOR VALUES FROM (now()) TO (MAXVALUE);"),
        ("SEQUENCE SET", "SELECT pg_catalog.setval('a.b', pg_backend_pid(), true);"),
        ("SEQUENCE SET", "SELECT pg_catalog.set_config('a', 1, true);"),
        ("SEQUENCE SET", "SELECT a.setval('a.b', 1, true);"),
        ("SEQUENCE", "CREATE SEQUENCE a.b OWNED BY a.c.d;"),
        (
            "DEFAULT",
            "ALTER TABLE ONLY a.b ALTER COLUMN c SET DEFAULT 1, ADD COLUMN d integer DEFAULT random();",
        ),
        ("DEFAULT", "ALTER TABLE ONLY a.b ALTER COLUMN c SET DEFAULT (1; DROP DATABASE arc;"),
        ("CONSTRAINT", "ALTER TABLE ONLY a.b ADD CONSTRAINT c CHECK (pg_sleep(1) IS NULL);"),
        ("CONSTRAINT", "ALTER TABLE ONLY a.b ADD CONSTRAINT c PRIMARY KEY (i), ADD COLUMN d integer;"),
        ("CHECK CONSTRAINT", "ALTER TABLE a.b ADD CONSTRAINT c CHECK (a.f(i));"),
        ("INDEX", "CREATE INDEX CONCURRENTLY i ON a.b USING btree (c);"),
        ("INDEX", "CREATE INDEX i ON a.b USING btree (c); DROP TABLE a.b;"),
        ("TRIGGER", "CREATE TRIGGER t BEFORE INSERT ON a.b FOR EACH ROW EXECUTE FUNCTION a.f('argument');"),
        (
            "TRIGGER",
            "CREATE TRIGGER t BEFORE INSERT ON a.b FOR EACH ROW WHEN (a.g()) EXECUTE FUNCTION a.f();",
        ),
        ("TRIGGER", "CREATE CONSTRAINT TRIGGER t AFTER INSERT ON a.b FOR EACH ROW EXECUTE FUNCTION a.f();"),
        ("TRIGGER", "CREATE EVENT TRIGGER t ON ddl_command_end EXECUTE FUNCTION a.f();"),
        ("FUNCTION", "CREATE FUNCTION a.f() RETURNS void LANGUAGE sql BEGIN ATOMIC SELECT 1; SELECT 2; END;"),
        ("FUNCTION", "CREATE OR REPLACE FUNCTION a.f() RETURNS void LANGUAGE sql AS 'SELECT';"),
        ("FUNCTION", "CREATE PROCEDURE a.f() LANGUAGE sql AS 'SELECT';"),
        ("TYPE", "CREATE TYPE a.t (INPUT = a.f, OUTPUT = a.g);"),
        ("COMMENT", "COMMENT ON TABLE a.b IS 'x'; DROP TABLE a.b;"),
        ("INDEX ATTACH", "ALTER INDEX a.b ATTACH PARTITION a.c; RESET ROLE;"),
    ],
)
def test_what_pg_dump_does_not_write_is_refused(kind: str, sql: str) -> None:
    with pytest.raises(statements.Unusual):
        statements.check(kind, sql)


@pytest.mark.parametrize(
    ("kind", "sql"),
    [
        ("TABLE", "CREATE TABLE a.\"odd ; name\" (\n    i text DEFAULT 'it''s; -- no comment'::text\n);\n"),
        (
            "TABLE",
            "CREATE TABLE a.b (x text DEFAULT E'\\\\d\\''::text, \"in\" integer[] DEFAULT ARRAY[1, 2]);",
        ),
        ("TABLE", "CREATE UNLOGGED TABLE a.b (i integer) INHERITS (a.c) WITH (fillfactor='70');"),
        (
            "TABLE",
            "CREATE TABLE a.b (i integer) PARTITION BY HASH (i); ALTER TABLE ONLY a.b REPLICA IDENTITY FULL;",
        ),
        ("TABLE", "CREATE TABLE a.b ();"),
        (
            "TABLE ATTACH",
            "ALTER TABLE ONLY a.b ATTACH PARTITION a.c FOR VALUES FROM ('x', -1) TO (MAXVALUE, 2);",
        ),
        (
            "TABLE ATTACH",
            "ALTER TABLE ONLY a.b ATTACH PARTITION a.c FOR VALUES WITH (modulus 2, remainder 1);",
        ),
        (
            "SEQUENCE",
            "CREATE SEQUENCE a.b\n    AS integer\n    INCREMENT BY -1\n    NO MAXVALUE\n    CACHE 1;",
        ),
        (
            "CONSTRAINT",
            "ALTER TABLE ONLY a.b\n    ADD CONSTRAINT c EXCLUDE USING gist (d WITH &&, e WITH =);",
        ),
        ("CHECK CONSTRAINT", "ALTER TABLE a.b\n    ADD CONSTRAINT c CHECK ((i > 0)) NOT VALID;"),
        (
            "INDEX",
            "CREATE UNIQUE INDEX i ON ONLY a.b USING btree (lower(c), d) INCLUDE (e) NULLS NOT DISTINCT;",
        ),
        (
            "TRIGGER",
            "CREATE TRIGGER t BEFORE INSERT OR UPDATE OF a, b ON a.b FOR EACH ROW EXECUTE FUNCTION a.f();",
        ),
        ("TYPE", "CREATE TYPE a.t AS (x integer, y text);"),
    ],
)
def test_other_forms_of_pg_dump_are_known(kind: str, sql: str) -> None:
    statements.check(kind, sql)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("LANGUAGE sql", ""),
        ("LANGUAGE sql SECURITY DEFINER", "rights of its owner"),
        ("LANGUAGE c", "only functions in plpgsql and sql"),
        ("LANGUAGE sql LANGUAGE c", "only functions in plpgsql and sql"),
    ],
)
def test_functions_are_of_known_languages_and_of_nobodys_rights(more: str, said: str) -> None:
    words = statements.words(f"CREATE FUNCTION a.f() RETURNS void {more} AS 'SELECT';")
    found = entries._why_not_function(words)
    assert said in found
    assert bool(found) == bool(said)


@pytest.mark.parametrize(
    "copy",
    [
        "",
        "COPY a.b (c) FROM PROGRAM 'id';\n",
        "COPY a.b (c) FROM '/etc/passwd';\n",
        "COPY a.b (c) FROM stdin; DROP TABLE a.b;\n",
        "COPY a.b (c) FROM stdin WITH (FORMAT binary);\n",
        "COPY (SELECT pg_sleep(1)) TO stdout;\n",
        'COPY a."b" (c) FROM stdin;\n\n',
        "COPY b (c) FROM stdin;\n",
    ],
)
def test_rows_come_by_copy_from_the_file_alone(copy: str) -> None:
    assert statements.COPY.fullmatch(copy) is None


def test_odd_names_of_columns_are_copied() -> None:
    assert statements.COPY.fullmatch('COPY "A b".c ("x""; y", z_1$) FROM stdin;\n')
    assert statements.COPY.fullmatch("COPY a.b FROM stdin;\n")
