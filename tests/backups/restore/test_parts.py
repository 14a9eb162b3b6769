"""One agent, and one table, out of a copy into live."""

from __future__ import annotations

import gzip
import uuid
from dataclasses import replace
from pathlib import Path

import pytest
from django.db import connection
from django.db.migrations.recorder import MigrationRecorder

from agents.models import Agent
from arcweb.backups import erasures, taking
from arcweb.backups.exceptions import BackupError, LockedOut
from arcweb.backups.job_handlers.restoring import part
from arcweb.backups.restore import parts
from arcweb.backups.restore.running import folder
from arcweb.backups.restore.source import find, of_backup
from arcweb.events.models import Event
from arcweb.jobs.context import JobContext
from memories.models import Document, DocumentSource, Memory
from tests.backups.restore.conftest import World

pytestmark = pytest.mark.django_db(transaction=True)
COLUMNS = [field.name for field in Memory._meta.fields if field.name != "content_tsv"]


def rows(agent: Agent) -> list[tuple[object, ...]]:
    found = Memory.objects.filter(agent=agent).order_by("position").values_list(*COLUMNS)
    return [tuple(str(value) for value in row) for row in found]


def test_an_agent_returns_as_it_was(world: World) -> None:
    agent = Agent.objects.get(name="Agent 1")
    first = Memory.objects.filter(agent=agent).order_by("position")[0]
    Memory.objects.filter(pk=first.pk).update(embedding_state="stale")  # as in no copy yet
    Agent.objects.create(name="Agent 0", type="assistant")
    source = of_backup(taking.take(taking.Options()))
    before, others = rows(agent), Memory.objects.exclude(agent=agent).count()
    Agent.objects.filter(pk=agent.pk).delete()

    found = parts.restore_agent(source, str(agent.pk))

    assert found["rows"] == {"agents": 1, "documents": 1, "document_sources": 1, "memories": 5}
    assert rows(agent) == before
    assert DocumentSource.objects.get(document__agent=agent).text == "Text of 1"
    assert Memory.objects.exclude(agent=agent).count() == others
    event = Event.objects.get(kind="restore.part")
    assert event.agent_id == agent.pk

    with pytest.raises(BackupError, match="Live has this agent"):
        parts.restore_agent(source, "Agent 1")
    with pytest.raises(BackupError, match="2 agents of the copy are called 'Agent 0': give the id of one"):
        parts.restore_agent(source, "Agent 0", name="a copy")


def test_an_agent_returns_as_a_copy_with_new_ids(world: World) -> None:
    agent = Agent.objects.get(name="Agent 2")
    before = rows(agent)
    found = parts.restore_agent(of_backup(world.backup()), "Agent 2", name="Agent 2 of then")
    copy = Agent.objects.get(pk=found["agent"])
    assert copy.name == "Agent 2 of then"
    assert copy.config == agent.config
    assert rows(agent) == before
    document = Document.objects.get(agent=copy)
    assert DocumentSource.objects.get(document=document).text == "Text of 2"
    mine = Memory.objects.filter(agent=copy)
    assert set(mine.values_list("document", flat=True)) == {document.pk}
    assert set(mine.values_list("content", "embedding_model", "embedding_state")) == set(
        Memory.objects.filter(agent=agent).values_list("content", "embedding_model", "embedding_state")
    )
    assert not set(mine.values_list("pk", flat=True)) & set(
        Memory.objects.filter(agent=agent).values_list("pk", flat=True)
    )
    for name in (" ", "x" * 256):
        with pytest.raises(BackupError, match="has 1 to 255 characters"):
            parts.restore_agent(of_backup(world.backup()), "Agent 2", name=name)


def test_a_row_that_belongs_to_another_now_stands_in_the_way(world: World) -> None:
    agent, other = Agent.objects.get(name="Agent 0"), Agent.objects.get(name="Agent 1")
    moved = Memory.objects.filter(agent=agent).first()
    assert moved is not None
    Memory.objects.filter(pk=moved.pk).update(agent=other, document=None)
    Agent.objects.filter(pk=agent.pk).delete()
    with pytest.raises(BackupError, match=str(moved.pk)):
        parts.restore_agent(of_backup(world.backup()), str(agent.pk))
    assert not Agent.objects.filter(pk=agent.pk).exists()


def test_a_table_returns_in_a_schema_of_its_own(world: World) -> None:
    wanted = Memory.objects.count()
    Memory.objects.all().delete()
    source = of_backup(world.backup())
    found = parts.restore_table(source, "agents.memories")
    assert found["rows"] == wanted
    assert found["table"].startswith("restored_")
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT count(*), count(embedding), count(content_tsv) FROM {found['table']}")
        assert cursor.fetchone() == (wanted,) * 3
        cursor.execute(
            "SELECT (SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = %s::regclass "
            "AND contype = 'p'), (SELECT attnotnull FROM pg_attribute WHERE attrelid = %s::regclass "
            "AND attname = 'embedding_state')",
            [found["table"]] * 2,
        )
        assert cursor.fetchone() == ("PRIMARY KEY (id)", True)
    assert Memory.objects.count() == 0, "live's own table is not touched"
    assert parts.restore_table(source, "agents.memories")["table"] != found["table"]
    with pytest.raises(BackupError, match=r"agents\.agents"):
        parts.restore_table(source, "agents.nothing")
    with pytest.raises(BackupError, match=r"write it with its schema, as agents\.memories"):
        parts.restore_table(source, "memories")


def test_what_was_erased_comes_back_by_no_part_of_a_copy(world: World) -> None:
    gone = Agent.objects.get(name="Agent 1")
    erasures.order(world.backups, "agent", {"id": str(gone.pk)})
    source = of_backup(world.backup())
    for name in ("", "under another name"):
        with pytest.raises(BackupError, match="or it was erased since"):
            parts.restore_agent(source, str(gone.pk), name=name)
    found = parts.restore_table(source, "agents.agents")
    assert found["rows"] == 2


def test_a_job_that_runs_again_restores_its_part_once(world: World) -> None:
    """A worker that dies after the commit has its job done again."""
    job = JobContext(uuid.uuid4(), wanted(world, name="Agent 2 of then"))
    first = run(job)
    assert "5 rows of memories" in first
    again = run(job)
    assert again == "Restored the agent Agent 2 as Agent 2 of then: an earlier run of this job had done it."
    assert Agent.objects.filter(name="Agent 2 of then").count() == 1
    job = JobContext(uuid.uuid4(), wanted(world, table="agents.agents"))
    place = run(job).split()[3].rstrip(":")
    assert run(job) == (
        f"Restored the table agents.agents as {place}: an earlier run of this job had done it."
    )
    assert job.snapshot().done == 3
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'restored%'")
        assert cursor.fetchone() == (1,)


def test_of_sql_text_from_outside_no_part_is_restored(world: World, tmp_path: Path) -> None:
    file = tmp_path / "stranger.sql.gz"
    file.write_bytes(gzip.compress(b"SELECT 1;"))
    source = find(str(file))
    with pytest.raises(BackupError, match="SQL text from outside"):
        parts.restore_agent(source, "Agent 1", name="a copy")
    with pytest.raises(BackupError, match="SQL text from outside"):
        parts.restore_table(source, "agents.agents")


def test_of_a_copy_of_a_newer_version_no_part_is_restored(world: World) -> None:
    source = of_backup(world.backup())
    assert source.manifest is not None
    newer = source.manifest.migrations | {"agents": "9999_of_tomorrow"}
    of_one_agent = replace(source.manifest, scope={"agent": "Agent 1"}, migrations=newer)
    with pytest.raises(BackupError, match=r"agents\.9999_of_tomorrow"):
        parts.restore_agent(replace(source, manifest=of_one_agent), "Agent 1", name="a copy")
    MigrationRecorder(connection).record_applied("agents", "9999_of_tomorrow")
    source = of_backup(taking.take(taking.Options()))
    with pytest.raises(BackupError, match=r"agents\.9999_of_tomorrow"):
        parts.restore_agent(source, "Agent 1", name="a copy")
    assert Agent.objects.count() == 3


def test_no_part_is_restored_beside_a_restore(world: World) -> None:
    source = of_backup(world.backup())
    with folder().locked("a restore"):
        with pytest.raises(LockedOut):
            parts.restore_agent(source, "Agent 1", name="a copy")
        with pytest.raises(LockedOut):
            parts.restore_table(source, "agents.agents")


def wanted(world: World, **values: str) -> dict[str, str]:
    return {"backup": world.copies["custom"], "agent": "Agent 2", "name": "", "table": "", **values}


def run(job: JobContext) -> str:
    found = part(job)
    assert found is not None
    return str(found["restored"])
