"""Programs without a shell: their end and words checked, and nothing of them left running."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

import psutil
import pytest

from arcweb.backups import processes, tools
from arcweb.backups.exceptions import ToolError
from arcweb.embedded.binaries import installed
from arcweb.embedded.processes import alive
from tests.running import ROOT
from tests.waiting import until

LONG = [sys.executable, "-c", "import time; print('ready', flush=True); time.sleep(600)"]


def test_a_good_end_gives_what_was_printed() -> None:
    assert processes.run([sys.executable, "-c", "print('hello; $HOME')"]) == b"hello; $HOME\n"


def test_a_bad_end_gives_its_own_words() -> None:
    script = "import sys; sys.stderr.write('x' * 200_000 + 'no such table'); sys.exit(3)"
    with pytest.raises(ToolError, match=r"ended with code 3: x*no such table") as caught:
        processes.run([sys.executable, "-c", script])
    assert len(str(caught.value)) < 10_000


def test_what_is_not_there_is_named() -> None:
    with pytest.raises(ToolError, match=r"/nonexistent/pg_dump cannot be run: No such file"):
        processes.run(["/nonexistent/pg_dump"])


def test_what_still_runs_ends_with_the_block_and_its_children_too() -> None:
    parent = (
        "import subprocess, sys, time; child = subprocess.Popen([sys.executable, '-c', 'import time; "
        "time.sleep(600)']); print(child.pid, flush=True); time.sleep(600)"
    )
    with processes.running([sys.executable, "-c", parent]) as program:
        child = psutil.Process(int(program.stdout.readline()))
    assert not psutil.pid_exists(program.process.pid)
    until(lambda: not alive(child), 60, "the end of the program's child")


def test_a_killed_one_says_by_what() -> None:
    with processes.running(LONG) as program:
        program.stdout.readline()
        program.process.kill()
        with pytest.raises(ToolError, match="was ended by SIGKILL"):
            program.end()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends children with their parent")
def test_it_ends_with_a_worker_that_is_killed() -> None:
    worker = (
        "import sys\n"
        "from arcweb.backups import processes\n"
        "with processes.running([sys.executable, '-c', 'import time; time.sleep(600)']) as program:\n"
        "    print(program.process.pid, flush=True)\n"
        "    program.end()\n"
    )
    with processes.running([sys.executable, "-c", worker], cwd=ROOT) as killed:
        child = psutil.Process(int(killed.stdout.readline()))
        killed.process.kill()
        killed.process.wait()
        until(lambda: not alive(child), 60, "the end of what the killed process had started")


def test_it_runs_modestly() -> None:
    with processes.running(LONG) as program:
        program.stdout.readline()
        found = psutil.Process(program.process.pid)
        until(lambda: found.nice() >= processes.NICE, 60, "its low priority")


def test_a_password_stands_in_a_private_file_and_only_while_it_is_needed(tmp_path: Path) -> None:
    with processes.passfile(r"a:b\c", tmp_path) as env:
        file = Path(env["PGPASSFILE"])
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert file.read_text() == "*:*:*:*:a\\:b\\\\c\n"
    assert not file.exists()


def test_a_password_that_a_killed_process_left_goes_with_the_next(tmp_path: Path) -> None:
    left, link, other = (tmp_path / f"{processes.PASSWORDS}{name}" for name in ("left", "link", "new"))
    target = tmp_path / "target"
    for path in (left, other, target):
        path.write_text("*:*:*:*:secret\n")
    link.symlink_to(target)
    os.mkfifo(tmp_path / f"{processes.PASSWORDS}pipe")
    with processes.passfile("x", tmp_path) as env:
        held = Path(env["PGPASSFILE"])
        for path in (left, target, held):
            os.utime(path, (0, 0))
        with processes.passfile("y", tmp_path):
            assert not left.exists()
            assert all(path.exists() for path in (link, target, other, held))


def test_programs_of_the_servers_version_are_found_and_others_refused_with_both_versions(
    tmp_path: Path,
) -> None:
    found = tools.find("pg_dump", 180003, [installed().postgres])
    assert found.major == 18
    old = tmp_path / "pg_dump"
    old.write_text("#!/bin/sh\necho 'pg_dump (PostgreSQL) 12.4 (Debian)'\n")
    old.chmod(0o755)
    with pytest.raises(ToolError, match=r"server is PostgreSQL 99\.0, so pg_dump 99 is needed.*is of 12\.4"):
        tools.find("pg_dump", 990000, [tmp_path])
    assert tools.find("pg_dump", 120001, [tmp_path]).version == "12.4"
    newer = tmp_path / "newer" / "pg_dump"
    newer.parent.mkdir()
    newer.write_text("#!/bin/sh\necho 'pg_dump (PostgreSQL) 98.1'\n")
    newer.chmod(0o755)
    with pytest.raises(ToolError, match=r"pg_dump 97 is needed.*is of 98\.1"):
        tools.find("pg_dump", 970000, [newer.parent])
