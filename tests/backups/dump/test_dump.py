"""Copies of every format and scope, restored with PostgreSQL's own programs and compared."""

from __future__ import annotations

import gzip
import subprocess
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.db import connection

from agents.models import Agent
from arcweb.backups import content, one_agent, scratch, server
from arcweb.backups import manifest as manifests
from arcweb.backups.content import Content
from arcweb.backups.exceptions import BackupError
from arcweb.backups.models import Backup
from arcweb.backups.taking import Options, Quiet, Work, take
from tests.backups.dump.conftest import contents, databases, environment, new_database, rows


def taken_content(backup: Backup) -> Content:
    manifest = manifests.Manifest.from_json(backup.manifest)
    return Content(manifest.tables, manifest.sequences)


@pytest.mark.parametrize("format_", ["custom", "plain"])
@pytest.mark.parametrize("schema", ["", "agents"])
def test_what_is_restored_is_what_was_taken(
    format_: str, schema: str, agents: list[Agent], folder: Path, restored: Callable[[Backup], str]
) -> None:
    scope = {"schema": schema} if schema else {}
    backup = take(Options(format=format_, scope=scope))
    assert backup.state == "hashed"
    name = restored(backup)
    said = taken_content(backup)
    assert contents(name) == said
    assert {table.schema for table in said.tables} == (
        {"agents"} if schema else {"agents", "events", "public"}
    )
    memories = next(table for table in said.tables if table.name == "memories")
    assert memories.rows == 27
    assert rows(name, "SELECT count(*) FROM agents.memories WHERE content_tsv @@ to_tsquery('memory')") == [
        (24,)
    ]
    assert rows(name, "SELECT extname FROM pg_extension WHERE extname = 'vector'") == [("vector",)]


def test_what_is_written_while_it_is_dumped_is_in_neither_the_copy_nor_its_hashes(
    agents: list[Agent], folder: Path
) -> None:
    class Writes(Quiet):
        def progress(self, done: int, total: int | None = None, message: str = "") -> None:
            if message == "dumping" and len(agents) == 2:
                agents.append(Agent.objects.create(name="too late", type="t"))

    backup = take(Options(format="plain", scope={"schema": "agents"}), Writes())
    assert len(agents) == 3
    assert next(one.rows for one in taken_content(backup).tables if one.name == "agents") == 2
    text = gzip.decompress((folder / backup.file).read_bytes())
    assert b"memory 3" in text
    assert b"too late" not in text


def test_hashes_that_take_longer_than_the_dump_are_waited_for(
    agents: list[Agent], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    look = content.look

    def slow(session: psycopg.Connection[Any], **options: Any) -> Content:
        session.execute("SELECT pg_sleep(2)")
        return look(session, **options)

    monkeypatch.setattr(content, "look", slow)
    backup = take(Options(scope={"schema": "agents"}))
    monkeypatch.undo()
    assert taken_content(backup) == contents(schema="agents")


def test_a_copy_of_one_agent_that_lost_a_row_on_its_way_is_not_kept(
    agents: list[Agent], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill = one_agent._fill

    def losing(work: Work, held: Any, name: str, *rest: Any) -> None:
        fill(work, held, name, *rest)
        with server.connect(name) as there:
            there.execute("DELETE FROM agents.memories WHERE position = 5")

    monkeypatch.setattr(one_agent, "_fill", losing)
    with pytest.raises(BackupError, match=r"differs from them in agents\.memories: it was not kept"):
        take(Options(scope={"agent": str(agents[0].pk)}))
    assert [path for path in folder.iterdir() if path.is_file()] == []
    assert Backup.objects.get().state == "failed"


def test_the_manifest_says_what_the_copy_is(agents: list[Agent], folder: Path) -> None:
    backup = take(Options())
    manifest, sha256 = manifests.read(folder / manifests.manifest_name(backup.file))
    assert (manifest.id, sha256, manifest.to_json()) == (
        str(backup.pk),
        backup.manifest_sha256,
        backup.manifest,
    )
    assert manifest.server["version_num"] == connection.connection.info.server_version
    assert int(manifest.server["system_identifier"]) > 0
    assert manifest.client["version"].partition(".")[0] == manifest.server["version"].partition(".")[0]
    assert manifest.database["name"] == connection.settings_dict["NAME"]
    assert manifest.extensions["vector"]
    assert manifest.migrations["memories"] >= "0003"
    assert manifest.settings["server_encoding"] == "UTF8"
    assert {"events.events"} == {one.parent for one in manifest.tables if one.name.startswith("events_2")}
    assert next(one.last for one in manifest.sequences if one.name == "events_id_seq")
    file = folder / backup.file
    assert (file.stat().st_size, file.stat().st_mode & 0o777) == (backup.bytes, 0o600)
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        [backup.file, manifests.manifest_name(backup.file)]
    )


@pytest.mark.parametrize("command", ["gunzip -c {file} | psql -U arc {db}", "psql -U arc {db} < {sql}"])
def test_the_seeds_commands_restore_the_plain_file(
    command: str, agents: list[Agent], folder: Path, tmp_path: Path
) -> None:
    backup = take(Options(format="plain"))
    text = tmp_path / "backup.sql"
    text.write_bytes(gzip.decompress((folder / backup.file).read_bytes()))
    with new_database() as name:
        line = command.format(file=folder / backup.file, db=name, sql=text)
        done = subprocess.run(
            ["bash", "-o", "pipefail", "-c", line],
            env=environment(),
            capture_output=True,
            text=True,
            check=True,
        )
        assert "ERROR" not in done.stderr
        assert contents(name) == taken_content(backup)


def test_the_plain_file_is_what_the_seeds_command_gives(agents: list[Agent], folder: Path) -> None:
    def lines(text: bytes) -> list[bytes]:
        # psql's \\restrict has a new word each time; the extensions are the template's.
        return [
            line
            for line in text.splitlines()
            if line and not line.startswith((b"--", b"\\restrict", b"\\unrestrict"))
        ]

    backup = take(Options(format="plain"))
    ours = gzip.decompress((folder / backup.file).read_bytes())
    seeds = subprocess.run(
        ["pg_dump", "-U", "arc", connection.settings_dict["NAME"]],
        env=environment(),
        capture_output=True,
        check=True,
    ).stdout
    # The row and the event of the backup itself came after its snapshot.
    news = [backup.file.encode(), str(backup.pk).encode(), b"events_id_seq"]
    missing = [line for line in lines(seeds) if line not in set(lines(ours))]
    missing = [line for line in missing if not any(new in line for new in news)]
    assert len(missing) == 4, missing
    assert all(line.startswith((b"CREATE EXTENSION IF NOT", b"COMMENT ON EXTENSION")) for line in missing)


@pytest.mark.parametrize("format_", ["custom", "plain"])
def test_one_agent_and_nothing_of_another(
    format_: str,
    agents: list[Agent],
    folder: Path,
    restored: Callable[[Backup], str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made: list[str] = []  # those of tests beside this one last longer
    create = scratch.create

    def told(session: psycopg.Connection[Any], name: str) -> None:
        made.append(name)
        create(session, name)

    with monkeypatch.context() as patched:
        patched.setattr(scratch, "create", told)
        backup = take(Options(format=format_, scope={"agent": str(agents[0].pk)}))
    assert len(made) == 1
    assert not databases() & set(made), "a scratch database was left"
    name = restored(backup)
    assert rows(name, "SELECT name FROM agents.agents") == [("one",)]
    assert rows(name, "SELECT name FROM agents.documents") == [("of one",)]
    assert rows(name, "SELECT count(*) FROM agents.document_sources") == [(1,)]
    assert rows(name, "SELECT count(*), count(agent_id) FROM agents.memories") == [(13, 12)]
    assert contents(name, schema="agents") == taken_content(backup)
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM agents.agents WHERE name = 'two'")
        cursor.execute("DELETE FROM agents.memories WHERE agent_id IS NULL AND document_id IS NULL")
    assert contents(schema="agents").tables == taken_content(backup).tables, "the rows are those of live"
    manifest = backup.manifest or {}
    assert manifest["database"]["name"] == connection.settings_dict["NAME"]
    assert "idx_memories_embedding" in manifest["notes"][0]


@pytest.mark.parametrize(
    ("scope", "words"),
    [
        ({"agent": str(uuid.UUID(int=5))}, "no agent with the id"),
        ({"agent": "x'; --"}, "no agent's id"),
        ({"schema": "nothing"}, "no schema 'nothing'"),
        ({"schema": "agen*"}, "no schema"),
    ],
)
def test_what_is_not_there_is_not_backed_up(
    scope: dict[str, Any], words: str, agents: list[Agent], folder: Path
) -> None:
    with pytest.raises(BackupError, match=words):
        take(Options(scope=scope))
    assert Backup.objects.get().state == "failed"
    assert [path for path in folder.iterdir() if path.is_file()] == []
