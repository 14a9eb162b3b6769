"""manage.py embedded and dbshell from outside, on servers of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from arcweb.embedded.binaries import installed
from arcweb.embedded.layout import Layout
from arcweb.embedded.stack import Stack
from tests.stack import CLEARED

ROOT = Path(__file__).resolve().parents[2]


def manage(layout: Layout, *arguments: str, **extra: str) -> subprocess.CompletedProcess[str]:
    env = {name: value for name, value in os.environ.items() if not name.startswith(CLEARED)}
    env |= {"ARC_ENV_FILE": "", "ARC_DATA_DIR": str(layout.data_dir), "PATH": "/usr/bin:/bin", **extra}
    return subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=ROOT, env=env, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip


def test_start_status_psql_stop(throwaway_stack: Callable[..., Stack], tmp_path: Path) -> None:
    stack = throwaway_stack()  # so that the cluster is made without syncing
    stack.stop()
    layout = stack.layout
    started = manage(layout, "embedded", "start")
    assert started.returncode == 0, started.stderr
    status = manage(layout, "embedded", "status", "--json")
    assert status.returncode == 0
    servers = json.loads(status.stdout)
    assert [server["name"] for server in servers] == ["postgres", "valkey-cache", "valkey-state"]
    assert all(server["pid"] and server["state"] == "ready" for server in servers)

    script = tmp_path / "script.sql"
    script.write_text("SELECT current_user || ' on ' || split_part(version(), ' ', 2);\n")
    for command in (["embedded", "psql", "--"], ["dbshell", "--"]):
        answer = manage(layout, *command, "-X", "-A", "-t", "-f", str(script))
        assert answer.stdout.startswith("arc on 18."), answer.stderr
        wrong = manage(layout, *command, "-X", "-v", "ON_ERROR_STOP=1", "-c", "SELECT 1/0")
        assert wrong.returncode != 0

    assert manage(layout, "embedded", "stop").returncode == 0
    stopped = manage(layout, "embedded", "status", "--json")
    assert stopped.returncode == 1
    assert [server["state"] for server in json.loads(stopped.stdout)] == ["stopped"] * 3


@pytest.mark.parametrize("action", ["start", "stop", "status", "psql"])
def test_with_external_servers_nothing_embedded_is_touched(tmp_path: Path, action: str) -> None:
    layout = Layout(tmp_path / "var")
    external = {"POSTGRES_HOST": "localhost", "REDIS_URL": "redis://localhost:1/0"}
    secrets = {"POSTGRES_PASSWORD": "x7-long-enough", "ARC_SECRET_KEY": "y8-long-enough"}
    done = manage(layout, "embedded", action, **external, **secrets)
    assert done.returncode == 1
    assert "POSTGRES_HOST is set" in done.stderr
    assert not layout.data_dir.exists()


def program(folder: Path, answer: str) -> Path:
    """A folder with a psql that says so and goes on as the real one."""
    folder.mkdir()
    script = folder / "psql"
    script.write_text(f"#!/bin/sh\necho '{answer}'\nexec '{installed().postgres}/psql' \"$@\"\n")
    script.chmod(0o755)
    return folder


OLD, NEW = "psql (PostgreSQL) 15.6", "psql (PostgreSQL) 18.6"


@pytest.mark.parametrize("tools", [NEW, OLD])
def test_the_shell_of_an_own_server_is_of_its_version(tmp_path: Path, tools: str) -> None:
    here = Layout(Path(os.environ["ARC_DATA_DIR"]))
    external = {
        "POSTGRES_HOST": str(here.socket_dir),
        "POSTGRES_PASSWORD": here.read_secret("postgres-password"),
        "REDIS_PASSWORD": "x" * 20,
        "ARC_SECRET_KEY": "x" * 50,
        "PATH": f"{program(tmp_path / 'path', OLD)}:/usr/bin:/bin",
        "ARC_POSTGRES_TOOLS": str(program(tmp_path / "tools", tools)),
    }
    done = manage(
        Layout(tmp_path / "var"), "dbshell", "--", "-X", "-A", "-t", "-c", "SELECT 2 + 2", **external
    )
    assert done.returncode == 0, done.stderr
    *said, answer = done.stdout.splitlines()
    assert answer == "4"
    if tools == OLD:  # no psql of 18, unless this machine has one
        assert (said == [OLD]) == ("psql 18 is needed" in done.stderr)
    else:
        assert said == [tools]
