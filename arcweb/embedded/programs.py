"""One process of the application under the supervisor's care. No Django."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

from arcweb.embedded.processes import Step, end_group, how_it_ended, spawn, trim_log

BASE_DIR = Path(__file__).resolve().parents[2]


class Program:
    """A command with its own log and process group.

    ready: whether a running one (its pid is given) does its work; None: as soon as it runs.
    steps: the signals that ask it to end, and the seconds each is given; SIGKILL comes after.
    """

    def __init__(
        self,
        name: str,
        argv: list[str],
        *,
        log_dir: Path,
        ready: Callable[[int], bool] | None = None,
        steps: Sequence[Step] = ((signal.SIGTERM, 10.0),),
    ) -> None:
        self.name = name
        self.argv = argv
        self.log = log_dir / f"{name}.log"
        self.steps = steps
        self.child: subprocess.Popen[bytes] | None = None
        self._ready = ready

    def start(self) -> None:
        """Starts it without waiting. What a dead one left of its process group is ended first."""
        if self.child is not None:
            end_group(self.child.pid, steps=((signal.SIGTERM, 2.0),), child=self.child)
        trim_log(self.log)
        self.child = spawn(
            self.argv,
            log=self.log,
            cwd=BASE_DIR,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
            dies_with_parent=signal.SIGTERM,
        )

    def exit_reason(self) -> str | None:
        """None while it runs, else why it ended, in words."""
        if self.child is None:
            return "it never started"
        code = self.child.poll()
        return None if code is None else how_it_ended(code)

    def ready(self) -> bool:
        return self.child is not None and (self._ready is None or self._ready(self.child.pid))

    def stop(self, *, hurry: Callable[[], bool] = lambda: False) -> None:
        """Ends the process group; in a hurry, at once."""
        if self.child is not None:
            end_group(self.child.pid, steps=self.steps, child=self.child, hurry=hurry)
