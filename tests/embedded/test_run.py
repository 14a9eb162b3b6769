"""`make run` as a whole, with the real servers and the real application."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import time
from collections.abc import Iterator

import psycopg
import pytest

from arcweb.embedded.layout import Layout
from arcweb.embedded.stack import delete_data
from tests.running import Running, free_port, kill_all, processes_of
from tests.stack import new_layout


def assert_nothing_is_left(layout: Layout, seconds: float = 30) -> None:
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
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
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
    os.kill(int(layout.worker_ready_file.read_text()), signal.SIGKILL)
    first.wait_for("worker ended (signal 9, SIGKILL)")

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
    assert processes_of(layout) == []


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
    assert processes_of(layout) == []


def _dsn(layout: Layout) -> str:
    password = layout.read_secret("postgres-password")
    return f"host={layout.socket_dir} dbname=arc user=arc password={password}"
