"""The supervisor restarts what dies, gives up in words on what keeps dying, ends what a killed run left."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from arcweb.embedded import processes, supervisor
from arcweb.embedded.errors import EmbeddedError
from arcweb.embedded.processes import alive, last_lines, trim_log, wait_until
from arcweb.embedded.programs import Program
from arcweb.embedded.supervisor import Supervisor, end_remembered, remember

SLEEPER = "import time; print('here', flush=True); time.sleep(60)"
#: A leader that ignores SIGTERM, with a member in its group.
STUBBORN = (
    "import signal, subprocess, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
    f"child = subprocess.Popen([sys.executable, '-c', {SLEEPER!r}]);"
    "print(child.pid, flush=True); time.sleep(60)"
)


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Callable[..., Program]]:
    made = []

    def make(code: str, name: str = "sleeper", seconds: float = 5.0) -> Program:
        steps = ((signal.SIGTERM, seconds),)
        made.append(Program(name, [sys.executable, "-c", code], log_dir=tmp_path, steps=steps))
        return made[-1]

    yield make
    for each in made:
        each.stop(hurry=lambda: True)


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setattr(supervisor, "FIRST_PAUSE", 0.02)
    monkeypatch.setattr(supervisor, "LONGEST_PAUSE", 0.05)
    monkeypatch.setattr(supervisor, "TICK", 0.02)
    return []


def test_a_process_that_dies_is_started_again_and_named(
    program: Callable[..., Program], told: list[str]
) -> None:
    sleeper = program(SLEEPER)
    sleeper.start()
    care = Supervisor(told.append, wanted=lambda: True)
    care.watch([sleeper])
    assert sleeper.child is not None
    first = sleeper.child.pid
    os.kill(first, signal.SIGKILL)
    assert care.wait(lambda: sleeper.child is not None and sleeper.child.pid != first, 60)
    assert sleeper.exit_reason() is None
    assert told == [
        f"sleeper ended (signal 9, SIGKILL); it is started again in 0.02 s. Log: {sleeper.log}",
    ]


def test_one_that_keeps_dying_stops_the_whole_with_the_end_of_its_log(
    program: Callable[..., Program], told: list[str]
) -> None:
    broken = program("import sys; print('no module named lunch', flush=True); sys.exit(3)", "broken")
    broken.start()
    care = Supervisor(told.append, wanted=lambda: True)
    care.watch([broken])
    with pytest.raises(EmbeddedError) as caught:
        care.wait(lambda: False, 120)
    assert len(told) == supervisor.MOST_DEATHS
    assert "broken died 6 times within 60 s (last: exit code 3)" in str(caught.value)
    assert str(broken.log) in str(caught.value)
    assert "no module named lunch" in str(caught.value)


def test_deaths_long_ago_do_not_count(program: Callable[..., Program], told: list[str]) -> None:
    sleeper = program(SLEEPER)
    sleeper.start()
    care = Supervisor(told.append, wanted=lambda: True)
    care.watch([sleeper])
    care.watches[0].deaths.extend([time.monotonic() - supervisor.WINDOW - 1] * 50)
    assert sleeper.child is not None
    sleeper.child.kill()
    assert care.wait(lambda: bool(told) and sleeper.exit_reason() is None, 60)
    assert len(care.watches[0].deaths) == 1


def test_stopping_takes_the_whole_group_even_when_its_leader_will_not_listen(
    program: Callable[..., Program],
) -> None:
    stubborn = program(STUBBORN, seconds=0.3)
    stubborn.start()
    assert wait_until(lambda: bool(re.search(r"\d+\n", last_lines(stubborn.log) + "\n")), 60)
    number = re.search(r"\d+", last_lines(stubborn.log))  # beside it the member's own word
    assert number is not None
    member = psutil.Process(int(number[0]))
    stubborn.stop()
    assert stubborn.exit_reason() == "signal 9, SIGKILL"
    assert wait_until(lambda: not alive(member), 60)  # it was killed, and is gone some moments later


def test_what_a_killed_run_left_is_ended_and_a_reused_number_is_not(tmp_path: Path) -> None:
    told: list[str] = []
    note = tmp_path / "children.json"
    orphan = subprocess.Popen([sys.executable, "-c", SLEEPER], start_new_session=True)
    innocent = subprocess.Popen([sys.executable, "-c", SLEEPER], start_new_session=True)
    try:
        remember(note, [orphan.pid, innocent.pid])
        entries = json.loads(note.read_text())
        entries[1]["started"] -= 3600  # the number belonged to an older process
        note.write_text(json.dumps(entries))
        end_remembered(note, told.append)
        assert orphan.wait(60) == -signal.SIGTERM
        assert innocent.poll() is None
        assert told == [f"Ending process {orphan.pid}, left by an earlier run"]
        assert not note.exists()
    finally:
        innocent.kill()
        innocent.wait()


@pytest.mark.parametrize("text", ["", "{", '[{"pid": "x"}]', "7"])
def test_a_damaged_note_is_ignored(tmp_path: Path, text: str) -> None:
    (tmp_path / "children.json").write_text(text)
    end_remembered(tmp_path / "children.json", print)


def test_a_long_log_is_moved_aside_under_its_writer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "LONGEST_LOG", 100)
    log = tmp_path / "web.log"
    with log.open("a") as writer:
        writer.write("old\n" * 50)
        writer.flush()
        trim_log(log)
        writer.write("new\n")
    assert log.read_text() == "new\n"
    assert (tmp_path / "web.log.1").read_text() == "old\n" * 50
