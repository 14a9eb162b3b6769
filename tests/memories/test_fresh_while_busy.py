"""A memory that another service INSERTs is found soon, whatever else is being ingested."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pydoc_data.topics import topics
from typing import Any

import psycopg
import pytest

from arcweb.embedded.layout import Layout
from arcweb.embedded.stack import delete_data
from tests.running import PATIENCE, ROOT, Running, free_port, kill_all
from tests.stack import CLEARED, new_layout

CONTENT = "The lighthouse keeper polishes the brass lamp every evening before the fog comes in."
INGEST = """
from pydoc_data.topics import topics
from agents.models import Agent
from memories import ingest, uploads
agent = Agent.objects.create(name="reader", type="assistant")
for name, text in topics.items():
    ingest.store(agent, uploads.from_text(f"{name}.txt", text, limit_mb=20))
"""
QUERY = "who cleans the light at dusk?"


class Application:
    """`make run` with the manage.py and the database that belong to it."""

    def __init__(self, layout: Layout, port: int) -> None:
        self._env = {name: value for name, value in os.environ.items() if not name.startswith(CLEARED)}
        self._env |= {"ARC_ENV_FILE": "", "ARC_DATA_DIR": str(layout.data_dir), "ARC_PORT": str(port)}
        # Asked beside the ingestion, which takes the whole processor.
        self._env["ARC_QUERY_DEADLINE"] = "30"
        self.database: psycopg.Connection[Any] = psycopg.connect(
            host=str(layout.socket_dir),
            dbname="arc",
            user="arc",
            password=layout.read_secret("postgres-password"),
            autocommit=True,
        )

    def manage(self, *arguments: str) -> subprocess.Popen[str]:
        command = [sys.executable, "manage.py", *arguments]
        return subprocess.Popen(command, cwd=ROOT, env=self._env, stdout=subprocess.PIPE, text=True)

    def value(self, query: str, *values: Any) -> Any:
        row = self.database.execute(query, values).fetchone()
        return row[0] if row else None


@pytest.fixture
def application() -> Iterator[Application]:
    layout, lock = new_layout()
    port = free_port()
    running = Running(layout, port, ARC_WORKERS="3")
    try:
        running.wait_for("ARC Web is ready")
        yield Application(layout, port)
    finally:
        running.process.terminate()
        running.exit_code()
        kill_all(layout)
        lock.close()
        delete_data(layout)


@pytest.mark.timeout(1200)
def test_a_plain_insert_is_searchable_before_79_documents_are_ingested(
    application: Application,
) -> None:
    queued = application.manage("shell", "--no-imports", "-c", INGEST)
    assert queued.wait(PATIENCE) == 0
    try:
        waited_until = time.monotonic() + PATIENCE
        busy = "SELECT count(*) FROM jobs_job WHERE kind = 'ingest' AND state = 'running' AND done > 0"
        while not application.value(busy):
            assert time.monotonic() < waited_until, "the ingestion never began"
            time.sleep(0.2)
        jobs = application.value("SELECT count(*) FROM jobs_job WHERE state IN ('queued', 'running')")
        backlog = application.value("SELECT count(*) FROM agents.memories WHERE embedding_state = 'pending'")
        assert jobs > len(topics) // 2
        memory = application.value("INSERT INTO agents.memories (content) VALUES (%s) RETURNING id", CONTENT)
        started = time.monotonic()
        state = "SELECT embedding_state FROM agents.memories WHERE id = %s"
        while application.value(state, memory) != "embedded":
            assert time.monotonic() - started < PATIENCE, "the memory still waits for its vector"
            time.sleep(0.1)
        seconds = time.monotonic() - started
        assert application.value("SELECT count(*) FROM jobs_job WHERE state IN ('queued', 'running')"), (
            "it waited for everything that was there before it"
        )
        search = application.manage("search", "--json", "-k", "1", QUERY)
        out, _ = search.communicate(timeout=PATIENCE)
        assert json.loads(out)[0]["id"] == str(memory)
    finally:
        application.database.close()
    print(
        f"\nsearchable after {seconds:.1f} s; {jobs} documents were being ingested, {backlog} chunks waited"
    )
