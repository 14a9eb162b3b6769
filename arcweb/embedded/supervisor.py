"""Keeps the processes of `make run` alive, or stops them all and says why. One thread, one loop. No Django.

Deliberately our own: honcho neither restarts a process nor cares for the orphans of a killed run.
"""

from __future__ import annotations

import json
import os
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import psutil

from arcweb.embedded.errors import EmbeddedError
from arcweb.embedded.processes import end_group, last_lines, trim_log

#: More deaths than this within the window and restarting is no cure.
MOST_DEATHS = 5
WINDOW = 60.0
FIRST_PAUSE = 0.5
LONGEST_PAUSE = 8.0
TRIM_EVERY = 60.0
TICK = 0.2


class Supervised(Protocol):
    """What the supervisor needs of a server or a program."""

    @property
    def name(self) -> str: ...
    @property
    def log(self) -> Path: ...
    def start(self) -> None: ...
    def exit_reason(self) -> str | None: ...


@dataclass
class Watch:
    """One process and its recent deaths, in seconds of the monotonic clock."""

    process: Supervised
    deaths: deque[float] = field(default_factory=deque)
    restart_at: float | None = None


class Supervisor:
    """tell: prints one line to the operator. wanted: False once the operator asked to stop."""

    def __init__(self, tell: Callable[[str], None], wanted: Callable[[], bool]) -> None:
        self.tell = tell
        self.wanted = wanted
        self.watches: list[Watch] = []
        self._trimmed = time.monotonic()

    def watch(self, processes: Sequence[Supervised]) -> None:
        """Takes running processes into care."""
        self.watches += [Watch(process) for process in processes]

    def tick(self) -> None:
        """One look at every process. Raises EmbeddedError naming the one that will not stay alive."""
        now = time.monotonic()
        for watch in self.watches:
            if watch.restart_at is not None:
                if now >= watch.restart_at:
                    watch.restart_at = None
                    watch.process.start()
            elif (reason := watch.process.exit_reason()) is not None:
                self._died(watch, reason, now)
        if now - self._trimmed > TRIM_EVERY:
            self._trimmed = now
            for watch in self.watches:
                trim_log(watch.process.log)

    def run(self, each_time: Callable[[], None] = lambda: None) -> None:
        """Ticks until the operator asks to stop; each_time: what else to look at."""
        while self.wanted():
            self.tick()
            each_time()
            time.sleep(TICK)

    def wait(self, condition: Callable[[], bool], seconds: float) -> bool:
        """Ticks until the condition holds (True), time is up, or the operator asks to stop (False)."""
        end = time.monotonic() + seconds
        while self.wanted() and time.monotonic() < end:
            self.tick()
            if condition():
                return True
            time.sleep(TICK)
        return False

    def _died(self, watch: Watch, reason: str, now: float) -> None:
        process = watch.process
        watch.deaths.append(now)
        while now - watch.deaths[0] > WINDOW:
            watch.deaths.popleft()
        if len(watch.deaths) > MOST_DEATHS:
            raise EmbeddedError(
                f"{process.name} died {len(watch.deaths)} times within {WINDOW:.0f} s (last: {reason}), so "
                f"everything is stopped. The end of its log {process.log}:\n{last_lines(process.log)}"
            )
        pause = min(FIRST_PAUSE * 2 ** (len(watch.deaths) - 1), LONGEST_PAUSE)
        watch.restart_at = now + pause
        self.tell(f"{process.name} ended ({reason}); it is started again in {pause:g} s. Log: {process.log}")


def remember(path: Path, pids: Sequence[int]) -> None:
    """Writes down which process groups this run has started, for the next run in case this one is killed."""
    found = []
    for pid in pids:
        with suppress(psutil.NoSuchProcess):
            found.append({"pid": pid, "started": psutil.Process(pid).create_time()})
    path.write_text(json.dumps(found))


def end_remembered(path: Path, tell: Callable[[str], None]) -> None:
    """Ends what a killed run left: groups whose leader is the same process, or is gone while members live.

    A number that another process carries by now is left alone: the kernel gives a number away only when
    its group is empty.
    """
    try:
        groups = [(int(entry["pid"]), float(entry["started"])) for entry in json.loads(path.read_text())]
    except (OSError, ValueError, KeyError, TypeError):
        return
    for pid, started in groups:
        with suppress(psutil.NoSuchProcess):
            if abs(psutil.Process(pid).create_time() - started) > 1:
                continue
        if _members(pid, started):
            tell(f"Ending process {pid}, left by an earlier run")
            end_group(pid)
    path.unlink(missing_ok=True)


def _members(group: int, started: float) -> list[int]:
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if os.getpgid(process.pid) == group and process.create_time() >= started - 1:
                found.append(process.pid)
    return found
