"""Files that may be hostile: each attack is made for real, and shown to be refused before it runs."""

from __future__ import annotations

import struct
import uuid
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import IO, Any

import pytest

from arcweb.backups import entries, scratch, server
from arcweb.backups.exceptions import CorruptCopy
from arcweb.backups.processes import passfile, postgres_env, run
from arcweb.backups.proving import archive, loading, statements, unpacking
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


@pytest.mark.parametrize(
    ("kind", "changes", "said"),
    [
        ("SEARCHPATH", {"data": True}, "sets something else"),
        ("ENCODING", {"copy": "COPY a.b FROM PROGRAM 'id';\n"}, "sets something else"),
        ("TABLE", {"schema": "pg_catalog"}, "schemas that begin with pg_"),
        ("SCHEMA", {"name": "pg_ours"}, "schemas that begin with pg_"),
        ("TABLE", {"data": True}, "has data where pg_dump has none"),
        ("TABLE", {"copy": "COPY agents.agents (id) FROM stdin;\n"}, "has data where pg_dump has none"),
        ("TABLE DATA", {"definition": EVIL}, "its entry holds SQL"),
        ("TABLE DATA", {"data": False}, "do not come by COPY"),
    ],
)
def test_entries_that_hold_more_than_pg_dump_writes_are_refused(
    source: Sample, kind: str, changes: dict[str, Any], said: str
) -> None:
    item = next(item for item in archive.read(BytesIO(source.custom)).items if item.kind == kind)
    assert entries.from_outside([item]).refusal() == ""
    assert said in entries.from_outside([replace(item, **changes)]).refusal()


def test_a_file_that_pg_restore_reads_otherwise_is_not_restored(
    source: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = archive.read

    def short(file: IO[bytes]) -> archive.Archive:
        found = read(file)
        return replace(found, items=found.items[:-1])

    monkeypatch.setattr(archive, "read", short)
    for trusted in (False, True):
        with pytest.raises(CorruptCopy, match="pg_restore finds something else"):
            restored(source.custom, tmp_path, trusted=trusted)


def test_an_extension_that_the_template_lacks_is_named(source: Sample, tmp_path: Path) -> None:
    dump = sample.pg_dump(source.name, "--format=custom", "--schema-only")
    with pytest.raises(NotTried, match="needs the extension postgis, which databases from the template"):
        restored(forged(dump, "vector", "postgis"), tmp_path, trusted=True)


def test_the_roles_of_another_server_are_not_needed(source: Sample, tmp_path: Path) -> None:
    owner = archive.read(BytesIO(source.custom)).items[-1].owner
    dump = source.custom.replace(text(owner), text("nobody_of_ours"))
    assert dump != source.custom
    for trusted in (False, True):
        assert "memories" in restored(dump, tmp_path, trusted=trusted)


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


@pytest.mark.parametrize(
    ("rights", "said"),
    [
        ("SUPERUSER", "is a superuser, whom PostgreSQL refuses nothing"),
        ("CREATEDB IN ROLE pg_execute_server_program", "is a member of pg_execute_server_program"),
    ],
)
def test_nothing_from_outside_runs_as_a_role_that_reaches_the_server(
    source: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rights: str, said: str
) -> None:
    role, before = f"arc_reaching_{uuid.uuid4().hex[:8]}", server.database
    with sample.superuser("postgres") as connection:
        connection.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'for-this-test' {rights}")
        try:
            with monkeypatch.context() as other:
                other.setattr(
                    server, "database", lambda: before() | {"USER": role, "PASSWORD": "for-this-test"}
                )
                with pytest.raises(NotTried, match=said):
                    restored(source.custom, tmp_path)
                if rights != "SUPERUSER":
                    assert "memories" in restored(source.custom, tmp_path, trusted=True)
        finally:
            connection.execute(f"DROP ROLE {role}")
