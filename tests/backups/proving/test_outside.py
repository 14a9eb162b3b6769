"""Files that may be hostile: each attack is made for real, and shown to be refused before it runs."""

from __future__ import annotations

import struct
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from django.db import connection as django

from arcweb.backups import entries, scratch, server
from arcweb.backups.exceptions import BackupError, CorruptCopy
from arcweb.backups.processes import passfile, postgres_env, run
from arcweb.backups.proving import archive, expressions, known_functions, loading, statements, unpacking
from arcweb.backups.proving.ladder import NotTried
from tests.backups.proving import sample
from tests.backups.proving.conftest import Sample

EVIL = "CREATE TABLE public.pwned (i integer);\n"


def text(words: str) -> bytes:
    """As an archive holds it."""
    data = words.encode()
    return b"\x00" + struct.pack("<I", len(data)) + data


def forged(dump: bytes, old: str, new: str | None) -> bytes:
    """The archive with one of its texts changed; None: left out, as NULL."""
    assert text(old) in dump, old
    other = text(new) if new is not None else b"\x01" + struct.pack("<I", 1)
    return dump.replace(text(old), other, 1)


def restored(dump: bytes, tmp_path: Path, *, trusted: bool = False) -> list[str]:
    """The tables of public after a restore into a scratch database of its own."""
    path = tmp_path / "dump"
    path.write_bytes(dump)
    with scratch.database("test") as name:
        loading.load(path, name, trusted=trusted)
        return tables(name)


def tables(name: str) -> list[str]:
    with server.connect(name) as connection:
        rows = connection.execute("SELECT relname FROM pg_class WHERE relkind = 'r' AND oid >= 16384")
        return sorted(row for (row,) in rows.fetchall())


def definition(dump: bytes, kind: str, name: str) -> str:
    items = archive.read(BytesIO(dump)).items
    return next(item.definition for item in items if (item.kind, item.name) == (kind, name))


def test_a_harmless_file_is_restored(source: Sample, tmp_path: Path) -> None:
    assert "memories" in restored(source.custom, tmp_path)


def test_pg_restore_itself_runs_what_no_list_of_entries_shows(source: Sample, tmp_path: Path) -> None:
    """Why the table of contents is read by ourselves."""
    dump = forged(source.custom, statements.FIXED["SEARCHPATH"], EVIL)
    path, nothing = tmp_path / "dump", tmp_path / "list"
    path.write_bytes(dump)
    nothing.write_text("")
    where = server.database()
    with scratch.database("test") as name:
        with server.connect(name) as connection, passfile(where["PASSWORD"]) as secret:
            program = server.program("pg_restore", connection).path
            assert b"pwned" not in run([program, "--list", path])
            run([program, f"--use-list={nothing}", f"--dbname={name}", path], postgres_env(where) | secret)
        assert tables(name) == ["pwned"]
    with pytest.raises(NotTried, match="SEARCHPATH: it sets something else than pg_dump does"):
        restored(dump, tmp_path)


@pytest.mark.parametrize(
    ("kind", "name", "change", "said"),
    [
        ("STDSTRINGS", "STDSTRINGS", lambda sql: sql.replace("'on'", "'off'"), "sets something else"),
        ("ENCODING", "ENCODING", lambda sql: sql.replace("UTF8", "SJIS"), "sets something else"),
        (
            "TABLE",
            "memories",
            lambda sql: sql + EVIL.replace("CREATE", "CREATE TEMPORARY"),
            "not of the form",
        ),
        ("TABLE", "memories", lambda sql: "COPY agents.x FROM PROGRAM 'id';", "not of the form"),
        ("TABLE", "memories", lambda sql: "DROP DATABASE arc WITH (FORCE);", "not of the form"),
        (
            "FUNCTION",
            "touch_updated_at()",
            lambda sql: sql.replace("AS $$", "SECURITY DEFINER AS $$"),
            "DEFINER",
        ),
        (
            "FUNCTION",
            "touch_updated_at()",
            lambda sql: sql.replace("plpgsql", "plpython3u"),
            "only functions in",
        ),
        ("FUNCTION", "touch_updated_at()", lambda sql: sql.replace("plpgsql", "c"), "only functions in"),
        ("TRIGGER", "agents touched", lambda sql: sql.replace("()", "('DROP')"), "not of the form"),
        ("SEQUENCE SET", "numbers", lambda sql: "SELECT pg_sleep(1);", "not of the form"),
        (
            *("TABLE ATTACH", "events_2026_11"),
            lambda sql: sql.replace("'2026-11-01 00:00:00+00'", "pg_sleep(1)"),
            "not of the form",
        ),
    ],
)
def test_sql_that_pg_dump_does_not_write_is_refused_by_name(
    source: Sample, tmp_path: Path, kind: str, name: str, change: Any, said: str
) -> None:
    before = definition(source.custom, kind, name)
    changed = change(before)
    assert changed != before
    with pytest.raises(NotTried, match=f"may not bring: {kind} .*{said}"):
        restored(forged(source.custom, before, changed), tmp_path)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("TYPE", "EVENT TRIGGER", "a superuser alone may make one"),
        ("TYPE", "PROCEDURAL LANGUAGE", "languages come with the template"),
        ("TYPE", "EXTENSION", "the only extensions known here are vector"),
        ("TYPE", "SUBSCRIPTION", "connect to another server at once"),
        ("TYPE", "SERVER", "foreign data wrapper"),
        ("TYPE", "CAST", "wherever types meet"),
        ("TYPE", "OPERATOR", "stand in for one of PostgreSQL's own"),
        ("TYPE", "VIEW", "application's role"),
        ("TYPE", "MATERIALIZED VIEW DATA", "at once"),
        ("TYPE", "SOMETHING NEW", "is not known here"),
        ("TRIGGER", "TABLE", "another part of the file"),
        ("COPY agents.agents (id, name, mood) FROM stdin;\n", None, "do not come by COPY"),
        (
            "COPY agents.agents (id, name, mood) FROM stdin;\n",
            "COPY a.b FROM PROGRAM 'id';\n",
            "do not come by",
        ),
    ],
)
def test_entries_of_other_kinds_are_refused_by_name(
    source: Sample, tmp_path: Path, old: str, new: str | None, said: str
) -> None:
    path = tmp_path / "dump"
    path.write_bytes(forged(source.custom, old, new))
    with pytest.raises(NotTried, match=said):
        loading.read(path, trusted=False)


def test_names_with_line_ends_and_double_numbers_are_refused(source: Sample, tmp_path: Path) -> None:
    path = tmp_path / "dump"
    path.write_bytes(forged(source.custom, "events_2026_11", "x\nDROP DATABASE arc;"))
    with pytest.raises(NotTried, match="characters that no name has"):
        loading.read(path, trusted=False)
    path.write_bytes(source.custom.replace(text("mood"), b"\x00\x04\x00\x00\x00m\x00od", 1))
    with pytest.raises(CorruptCopy, match="zero byte"):
        loading.read(path, trusted=False)


def test_code_in_a_real_dump_is_refused_by_name(tmp_path: Path) -> None:
    attacks = {
        "DOMAIN public.d": "CREATE DOMAIN public.d AS integer CHECK (random() > 0)",
        "VIEW public.v": "CREATE VIEW public.v AS SELECT pg_backend_pid() AS i",
        "MATERIALIZED VIEW DATA public.m": "CREATE MATERIALIZED VIEW public.m AS SELECT pg_backend_pid() i",
        "RULE agents.agents r": "CREATE RULE r AS ON INSERT TO agents.agents DO ALSO NOTIFY x",
        "ROW SECURITY agents.agents": "ALTER TABLE agents.agents ENABLE ROW LEVEL SECURITY",
        "POLICY agents.agents p": "CREATE POLICY p ON agents.agents USING (pg_backend_pid() = 1)",
        "PUBLICATION everything": "CREATE PUBLICATION everything FOR TABLE agents.agents",
        "CAST CAST (agents.mood AS integer)": "CREATE CAST (agents.mood AS integer) WITH INOUT",
        "OPERATOR public.===": (
            "CREATE OPERATOR public.=== (FUNCTION = int4eq, LEFTARG = int, RIGHTARG = int)"
        ),
        "AGGREGATE public.sum4(integer)": (
            "CREATE AGGREGATE public.sum4(integer) (SFUNC = int4pl, STYPE = int)"
        ),
        "COLLATION public.k": 'CREATE COLLATION public.k FROM "C"',
    }
    path = tmp_path / "dump"
    with scratch.database("test") as name:
        with server.connect(name) as connection:
            connection.execute(sample.SCHEMA)
            for statement in attacks.values():
                connection.execute(statement)
            connection.execute("SELECT lo_from_bytea(0, 'a large object')")
        path.write_bytes(sample.dump(name))
    with path.open("rb") as file:
        choice = entries.from_outside(archive.read(file).items)
    assert set(attacks) <= {str(item) for item, _ in choice.refused}
    assert {"BLOB METADATA", "BLOBS"} <= {item.kind for item, _ in choice.refused}
    with pytest.raises(NotTried, match=r"may not bring: .*and \d+ more"):
        loading.read(path, trusted=False)
    # What is ours is taken, but for what would send rows to others.
    assert {
        str(item) for item, _ in entries.of_ours(archive.read(BytesIO(path.read_bytes())).items).left
    } >= {"PUBLICATION everything"}


def test_code_of_an_allowed_form_is_refused_before_it_runs(tmp_path: Path) -> None:
    attacks = {
        "the function agents.touch_updated_at()": (
            "CREATE OR REPLACE FUNCTION agents.touch_updated_at() RETURNS trigger LANGUAGE plpgsql "
            "AS 'BEGIN PERFORM pg_sleep(1); RETURN NEW; END'"
        ),
        "the function public.f(i integer)": (
            "CREATE FUNCTION public.f(i integer DEFAULT pg_backend_pid()) RETURNS integer "
            "LANGUAGE sql AS 'SELECT 1'"
        ),
        "the condition memories_size_check calls pg_terminate_backend(integer,bigint)": (
            "ALTER TABLE agents.memories ADD CHECK (pg_terminate_backend(size) IS NOT NULL)"
        ),
        "column content of agents.memories calls query_to_xml(text,boolean,boolean,text)": (
            "ALTER TABLE agents.memories ALTER COLUMN content "
            "SET DEFAULT query_to_xml('SELECT 1', true, true, '')::text"
        ),
        "column mood of agents.agents calls pg_sleep(double precision)": (
            "ALTER TABLE agents.agents ALTER COLUMN mood SET DEFAULT pg_sleep(1)::text::agents.mood"
        ),
    }
    attacks["the schema arc, called as the role,"] = "CREATE SCHEMA arc"
    with scratch.database("test") as name:
        with server.connect(name) as connection:
            connection.execute(sample.SCHEMA)
            for statement in attacks.values():
                connection.execute(statement)
            found = expressions.strangers(connection)
        dump = sample.dump(name)
    assert set(attacks) == set(found)
    with pytest.raises(NotTried, match=r"not ARC Web's own.*the function agents.touch_updated_at\(\)"):
        restored(dump, tmp_path)


def test_what_would_run_while_rows_go_in_is_found_before_they_do(tmp_path: Path) -> None:
    """A condition that is tried at every row, in a file whose rows would make it end a session."""
    with scratch.database("test") as name, server.connect(name) as victim:
        pid = victim.info.backend_pid
        with server.connect(name) as connection:
            connection.execute(
                "CREATE TABLE public.t (pid integer CHECK (pid = 0 OR pg_terminate_backend(pid)))"
            )
            connection.execute("INSERT INTO public.t VALUES (0)")
        dump = _with_row(name, pid)
        with pytest.raises(NotTried, match=r"calls pg_terminate_backend\("):
            restored(dump, tmp_path)
        assert victim.execute("SELECT 1").fetchone() == (1,)
        # The same file as ours does what it says: the session is gone.
        with suppress(BackupError):
            restored(dump, tmp_path, trusted=True)
        with pytest.raises(Exception, match=r"terminating|closed"):
            victim.execute("SELECT 1")


def _with_row(name: str, pid: int) -> bytes:
    dump = sample.dump(name)
    row = b"\x00\x02\x00\x00\x000\n"
    assert row in dump
    data = b"%d\n" % pid
    return dump.replace(row, b"\x00" + struct.pack("<I", len(data)) + data)


def test_sql_text_from_outside_is_not_run(source: Sample, tmp_path: Path) -> None:
    path = tmp_path / "dump"
    path.write_bytes(source.plain)
    with scratch.database("test") as name:
        with pytest.raises(NotTried, match="only copies of this installation"):
            loading.load(path, name, trusted=False, plain=True)
        assert tables(name) == []


def test_rows_that_unpack_without_end_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with scratch.database("test") as name:
        with server.connect(name) as connection:
            connection.execute("CREATE TABLE public.t (x text)")
            connection.execute("INSERT INTO public.t VALUES (repeat('a', 3000000))")
        dumps = {
            how: sample.pg_dump(name, "--format=custom", f"--compress={how}") for how in ("gzip", "none")
        }
    monkeypatch.setattr(unpacking, "HARMLESS", 100_000)
    monkeypatch.setattr(unpacking, "MOST_RATIO", 20)
    assert len(dumps["gzip"]) < 100_000
    with pytest.raises(CorruptCopy, match="made to fill a disk"):
        restored(dumps["gzip"], tmp_path)
    assert restored(dumps["none"], tmp_path) == ["t"]


@pytest.mark.django_db
def test_every_function_of_the_migrations_is_known() -> None:
    """A migration that changes a function adds its digest to arcweb/backups/proving/known_functions.py."""
    where = django.settings_dict["NAME"]
    with server.connect(where) as connection:
        found = expressions.functions(connection)
        strangers = expressions.strangers(connection)
    missing = {
        key: digest for key, digest in found.items() if digest not in known_functions.DIGESTS.get(key, ())
    }
    assert missing == {}
    assert strangers == []
    assert len(found) >= 6


@pytest.mark.django_db
def test_the_schema_of_this_version_comes_in_from_outside(tmp_path: Path) -> None:
    dump = sample.pg_dump(str(django.settings_dict["NAME"]), "--format=custom", "--schema-only")
    found = restored(dump, tmp_path)
    assert {"memories", "events_default", "auth_user", "backups_backup"} <= set(found)
