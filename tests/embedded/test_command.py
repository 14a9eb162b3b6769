"""manage.py embedded and dbshell from outside, on servers of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

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
