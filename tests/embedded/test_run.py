"""`make run` as a whole, with the real servers and the real application."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import psutil
import psycopg
import pytest

from arcweb.embedded.layout import Layout
from arcweb.embedded.stack import Stack, delete_data
from memories.model_client import embed
from tests.running import ROOT, Running, free_port, kill_all, processes_of
from tests.stack import CLEARED, new_layout
from tests.waiting import until


def assert_nothing_is_left(layout: Layout, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while left := processes_of(layout):
        assert time.monotonic() < end, left
        time.sleep(0.2)


@pytest.fixture
def place() -> Iterator[tuple[Layout, int]]:
    layout, lock = new_layout()
    yield layout, free_port()
    kill_all(layout)
    lock.close()
    delete_data(layout)


def login_page(port: int) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", "/login/")
    status = connection.getresponse().status
    connection.close()
    return status


def test_from_an_empty_folder_through_kill_9_to_a_clean_stop(place: tuple[Layout, int]) -> None:
    layout, port = place
    first = Running(layout, port)
    first.wait_for("ARC Web is ready")
    for part in (f"http://127.0.0.1:{port}/", "admin", str(layout.admin_password_file), str(layout.log_dir)):
        assert part in first.said
    assert layout.admin_password_file.stat().st_mode & 0o777 == 0o600
    assert layout.admin_password_file.read_text().strip() not in first.said
    assert login_page(port) == 200

    second = Running(layout, port)
    assert second.exit_code() == 1
    assert f"process {first.process.pid}, http://127.0.0.1:{port}/" in second.said
    assert "Traceback" not in second.said

    with psycopg.connect(_dsn(layout), autocommit=True) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 7 AS n")
    os.kill(int((layout.postgres_dir / "postmaster.pid").read_text().split()[0]), signal.SIGKILL)
    first.wait_for("postgres ended (signal 9, SIGKILL)")
    # Workers that do not answer within a second are not counted, as on a busy machine.
    until(lambda: queues(layout) == {"celery": ["worker"], "quick": ["worker-quick"]}, 120)
    os.kill(int(layout.worker_ready_file("worker").read_text()), signal.SIGKILL)
    first.wait_for("worker ended (signal 9, SIGKILL)")
    os.kill(int(layout.worker_ready_file("worker-quick").read_text()), signal.SIGKILL)
    first.wait_for("worker-quick ended (signal 9, SIGKILL)")

    first.process.kill()
    first.process.wait()
    assert_nothing_is_left(layout)

    third = Running(layout, port)
    third.wait_for("ARC Web is ready")
    assert login_page(port) == 200
    with psycopg.connect(_dsn(layout)) as connection:
        assert connection.execute("SELECT n FROM kept").fetchone() == (7,)
    third.process.send_signal(signal.SIGINT)
    assert third.exit_code() == 0, third.said
    assert "Everything is stopped." in third.said
    assert "Traceback" not in third.said
    assert_nothing_is_left(layout)


def test_on_external_servers_one_process_holds_the_local_model(
    place: tuple[Layout, int], throwaway_stack: Callable[..., Stack]
) -> None:
    layout, port = place
    servers = throwaway_stack().layout
    run = Running(
        layout,
        port,
        POSTGRES_HOST=str(servers.socket_dir),
        POSTGRES_PASSWORD=servers.read_secret("postgres-password"),
        POSTGRES_SSLMODE="disable",
        REDIS_URL=servers.redis_url("cache"),
        REDIS_STATE_URL=servers.redis_url("state"),
        ARC_SECRET_KEY=servers.read_secret("secret-key"),
        ARC_HTTPS="false",
    )
    run.wait_for("ARC Web is ready")
    vectors = embed(str(layout.model_socket), ["a question"], timeout=200)
    assert vectors.shape == (1, 384)
    assert layout.socket_dir.stat().st_mode & 0o777 == 0o700
    told = {
        process.environ().get("ARC_MODEL_SERVER")
        for process in psutil.Process(run.process.pid).children()
        if "celery" in process.cmdline()
    }
    assert told == {str(layout.model_socket)}
    run.process.send_signal(signal.SIGINT)
    assert run.exit_code() == 0, run.said
    assert not layout.socket_dir.exists()


def test_a_taken_port_is_a_sentence(place: tuple[Layout, int]) -> None:
    layout, port = place
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", port))
        holder.listen()
        run = Running(layout, port)
        assert run.exit_code() == 1
    assert f"Port {port} on 127.0.0.1 is taken" in run.said
    assert "ARC_PORT=" in run.said
    assert "Traceback" not in run.said
    assert_nothing_is_left(layout)


def queues(layout: Layout) -> dict[str, list[str]]:
    """Which workers serve each queue, without the machine's name."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(CLEARED)}
    done = subprocess.run(
        [sys.executable, "manage.py", "health", "celery", "--json"],
        cwd=ROOT,
        env={**env, "ARC_ENV_FILE": "", "ARC_DATA_DIR": str(layout.data_dir)},
        capture_output=True,
        text=True,
        check=False,
    )
    found = json.loads(done.stdout)["checks"][0]["facts"].get("queues", {})
    return {name: [worker.partition("@")[0] for worker in queue["workers"]] for name, queue in found.items()}


def _dsn(layout: Layout) -> str:
    password = layout.read_secret("postgres-password")
    return f"host={layout.socket_dir} dbname=arc user=arc password={password}"
