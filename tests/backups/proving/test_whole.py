"""The application's own database, taken as it is taken and proven as it is proven, in both formats."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from django.db import connection

from agents.models import Agent
from arcweb.backups import content, server
from arcweb.backups.manifest import Manifest
from arcweb.backups.models import Backup
from arcweb.backups.proving import proof
from arcweb.backups.taking import Options, take
from arcweb.jobs.models import Job
from memories.models import Document, DocumentSource, Memory


def fill() -> None:
    """Vectors of full length, large metadata, texts of every kind, a number that fewer digits would change,
    and events in several partitions."""
    agent = Agent.objects.create(name='odd "name"; \\', type="x", config={"deep": {"list": [1, None, "ä"]}})
    document = Document.objects.create(agent=agent, name="a.md", content_hash=b"\x00\xff", size_bytes=3)
    DocumentSource.objects.create(document=document, text="a\\.\n\\N\tb\r\n")
    vectors = np.random.default_rng(6).normal(size=(40, 1536)).astype(np.float32)
    for number, vector in enumerate(vectors):
        Memory.objects.create(
            agent=agent,
            document=document,
            position=number,
            content=f"memory {number}: \\N \t \u2028 😀",
            embedding=vector if number % 5 else None,
            metadata={"n": number, "large": "ä€😀" * (100_000 if number == 7 else 3)},
        )
    Job.objects.create(kind="ingest", target="numbers", rate=0.1 + 0.2)
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO agents.memories (content) VALUES (NULL), (''), ('no agent')")
        cursor.execute(
            "INSERT INTO events.events (kind, occurred_at) "
            "SELECT 'test.' || i, now() + make_interval(days => 25 * i) FROM generate_series(-3, 3) AS i"
        )
        cursor.execute("ANALYZE")


@pytest.mark.django_db(transaction=True)
def test_both_formats_come_back_as_they_were(folder: Path) -> None:
    fill()
    with server.connect() as live:
        before = {(one.schema, one.name): (one.rows, one.sha256) for one in content.look(live).tables}
        partitions = live.execute(
            "SELECT count(*) FROM pg_inherits WHERE inhparent = 'events.events'::regclass"
        ).fetchone()
    assert partitions is not None
    assert partitions[0] >= 2  # another test may have made more
    for format_ in ("custom", "plain"):
        backup = take(Options(format=format_))
        manifest = Manifest.from_json(backup.manifest)
        for table in manifest.tables:
            if table.schema in ("agents", "events") and "event" not in table.name:
                assert (table.rows, table.sha256) == before[table.schema, table.name]
        outcome = proof.prove(backup.pk)
        assert outcome.trouble == ""
        backup.refresh_from_db()
        assert backup.state == Backup.State.VERIFIED
        said = {step["name"]: step["sentence"] for step in outcome.result["steps"]}
        assert f"{partitions[0]} of them attached as partitions" in said["rows"]
        assert "idx_memories_embedding (hnsw) gave 10 neighbours" in said["vectors"]
        found = {(table.schema, table.name): table.rows for table in manifest.tables}
        assert found["agents", "memories"] == 43
        assert found["events", "events_default"] >= 1
        assert len([rows for (_, name), rows in found.items() if name.startswith("events_20") and rows]) >= 2
