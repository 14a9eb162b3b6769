"""Code of an allowed form: only ours, and nothing with side effects, before any row goes in."""

from __future__ import annotations

import struct
from contextlib import suppress
from pathlib import Path

import pytest
from django.db import connection as django

from arcweb.backups import scratch, server
from arcweb.backups.exceptions import BackupError
from arcweb.backups.proving import expressions, known_functions
from arcweb.backups.proving.ladder import NotTried
from tests.backups.proving import sample
from tests.backups.proving.test_outside import restored


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


def test_a_condition_that_comes_after_the_rows_is_found_too(tmp_path: Path) -> None:
    with scratch.database("test") as name:
        with server.connect(name) as connection:
            connection.execute("CREATE TABLE public.t (pid integer)")
            connection.execute(
                "ALTER TABLE public.t ADD CONSTRAINT late CHECK (pg_terminate_backend(pid)) NOT VALID"
            )
        dump = sample.dump(name)
    with pytest.raises(NotTried, match=r"the condition late calls pg_terminate_backend\("):
        restored(dump, tmp_path)


def _with_row(name: str, pid: int) -> bytes:
    dump = sample.dump(name)
    row = b"\x00\x02\x00\x00\x000\n"
    assert row in dump
    data = b"%d\n" % pid
    return dump.replace(row, b"\x00" + struct.pack("<I", len(data)) + data)


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
