"""A worker killed again and again in the middle of embedding, and the broker once: nothing is lost."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from pydoc_data.topics import topics
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row

from arcweb.embedded.stack import Stack
from tests.waiting import until

KILLS = 10
ROOT = Path(__file__).parents[2]
DOCUMENTS = ["compound", "types", "specialnames", "typesseq"]


class Processes:
    """Worker and beat of one stack; each in a session of its own, so that a kill takes its children too."""

    def __init__(self, stack: Stack, logs: Path) -> None:
        inherited = {
            k: v for k, v in os.environ.items() if not k.startswith(("REDIS_", "POSTGRES_", "PYTEST_"))
        }
        self.env = {
            **inherited,
            "ARC_DATA_DIR": str(stack.layout.data_dir),
            "ARC_MODEL_SERVER": "",
            "ARC_JOB_LOST_AFTER": "6",
        }
        self._logs = logs
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str, *arguments: str) -> subprocess.Popen[bytes]:
        with (self._logs / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, *arguments],
                cwd=ROOT,
                env=self.env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._running[name] = process
        return process

    def worker(self) -> None:
        self.start(
            "worker", "-m", "celery", "-A", "arcweb", "worker", "--concurrency", "2", "--loglevel", "INFO"
        )

    def beat(self) -> None:
        self.start(
            "beat", "-m", "celery", "-A", "arcweb", "beat", "--schedule", str(self._logs / "beat-schedule")
        )

    def kill(self, name: str) -> None:
        process = self._running.pop(name)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def kill_all(self) -> None:
        for name in list(self._running):
            if self._running[name].poll() is None:
                self.kill(name)


@pytest.fixture
def stack(throwaway_stack: Callable[..., Stack]) -> Stack:
    return throwaway_stack()


@pytest.fixture
def processes(stack: Stack, tmp_path: Path) -> Iterator[Processes]:
    processes = Processes(stack, tmp_path)
    yield processes
    processes.kill_all()


class Database:
    def __init__(self, stack: Stack) -> None:
        self._connection = psycopg.connect(
            host=str(stack.layout.socket_dir),
            user="arc",
            dbname="arc",
            password=stack.layout.read_secret("postgres-password"),
            autocommit=True,
            row_factory=dict_row,
        )

    def rows(self, statement: str) -> list[dict[str, Any]]:
        return self._connection.execute(statement).fetchall()  # type: ignore[call-overload,no-any-return]

    def number(self, statement: str) -> int:
        return int(next(iter(self.rows(statement)[0].values())) or 0)

    def embedding_is_under_way(self) -> bool:
        return bool(
            self.number("SELECT count(*) FROM jobs_job WHERE state = 'running' AND done > 0 AND done < total")
        )


@pytest.mark.timeout(2400)
def test_kills_lose_nothing_and_repeat_nothing(stack: Stack, processes: Processes, tmp_path: Path) -> None:
    migrate = [sys.executable, "manage.py", "migrate", "--noinput", "--verbosity", "0"]
    subprocess.run(migrate, cwd=ROOT, env=processes.env, check=True)
    database = Database(stack)
    processes.worker()
    processes.beat()
    clients = []
    for name in DOCUMENTS:
        file = tmp_path / f"{name}.txt"
        file.write_text(topics[name])
        command = ("manage.py", "ingest", "--agent", f"agent {name}", "--create", str(file))
        clients.append(processes.start(f"ingest-{name}", *command))

    dice = random.Random(20261122)
    kills = 0
    while kills < KILLS:
        until(database.embedding_is_under_way, 240, "embedding")
        time.sleep(dice.uniform(0, 1.5))
        if not database.embedding_is_under_way():
            continue  # it finished meanwhile; the next kill has to hit
        processes.kill("worker")
        kills += 1
        if kills == KILLS // 2:
            broker = next(server for server in stack.servers if "state" in server.name)
            process = broker.process()
            assert process is not None
            process.kill()
            time.sleep(1)
            stack.start()
        processes.worker()

    def ended() -> bool:
        return not database.number("SELECT count(*) FROM jobs_job WHERE state IN ('queued', 'running')")

    until(ended, 600, "the end of every job")
    jobs = database.rows("SELECT kind, state, done, total, result, last_error, attempts FROM jobs_job")
    ingestions = [job for job in jobs if job["kind"] == "ingest"]
    assert [job["state"] for job in ingestions] == ["succeeded"] * len(DOCUMENTS), jobs
    assert all(job["done"] == job["total"] == job["result"]["chunks"] for job in ingestions), jobs
    assert sum(job["attempts"] for job in ingestions) > len(DOCUMENTS)
    for client in clients:
        assert client.wait(120) == 0

    documents = database.rows(
        """
        SELECT d.name, d.chunk_count, count(m.id) AS memories, count(DISTINCT m.position) AS positions,
               count(m.embedding) AS vectors, min(m.position) AS first, max(m.position) AS last,
               count(*) FILTER (WHERE m.embedding_state = 'embedded') AS embedded
        FROM agents.documents AS d JOIN agents.memories AS m ON m.document_id = d.id GROUP BY d.id
        """
    )
    assert len(documents) == len(DOCUMENTS)
    for document in documents:
        counts = {document[name] for name in ("chunk_count", "memories", "positions", "vectors", "embedded")}
        assert counts == {document["last"] + 1}, document
        assert document["first"] == 0
    assert database.number("SELECT count(*) FROM agents.memories WHERE embedding_model = ''") == 0
    assert database.number("SELECT count(*) FROM agents.agents") == len(DOCUMENTS)
