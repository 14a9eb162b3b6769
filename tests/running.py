"""`make run` as a process that tests start, listen to and kill."""

from __future__ import annotations

import itertools
import os
import random
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import psutil

from arcweb.embedded.layout import Layout
from tests.stack import CLEARED

ROOT = Path(__file__).resolve().parents[1]
PATIENCE = 240.0


#: Below those that the kernel gives to whoever asks for any, so that nobody is given one between its choice
#: and its use; each test process has some of its own, and begins anywhere among them.
_WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw9").removeprefix("gw")) % 10
_ports = itertools.cycle(range(12_000 + 2000 * _WORKER, 14_000 + 2000 * _WORKER))
for _ in range(random.randrange(2000)):
    next(_ports)


def free_port() -> int:
    """A port of this machine that nobody listens at, and no other test process is told."""
    for port in itertools.islice(_ports, 2000):
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise RuntimeError("All ports of this test process are taken.")


class Running:
    """One supervisor, and everything it has said."""

    def __init__(self, layout: Layout, port: int, **settings: str) -> None:
        env = {name: value for name, value in os.environ.items() if not name.startswith(CLEARED)}
        env |= {
            "ARC_ENV_FILE": "",
            "ARC_DATA_DIR": str(layout.data_dir),
            "ARC_PORT": str(port),
            "ARC_WORKERS": "1",
            **settings,
        }
        self.process = subprocess.Popen(
            [sys.executable, "-m", "arcweb.embedded.run"],
            cwd=ROOT,
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.said = ""
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def _listen(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.said += line

    def wait_for(self, text: str) -> None:
        end = time.monotonic() + PATIENCE
        while text not in self.said:
            assert self.process.poll() is None, f"it ended with {self.process.returncode}:\n{self.said}"
            assert time.monotonic() < end, f"never said {text!r}:\n{self.said}"
            time.sleep(0.05)

    def exit_code(self) -> int:
        code = self.process.wait(PATIENCE)
        self._listener.join(20)  # the rest of what it said, unless a child of it still may say something
        return code


def processes_of(layout: Layout) -> list[str]:
    """Command lines of every living process of that data folder: by its environment, or its folder."""
    found = []
    for process in psutil.process_iter():
        try:
            mine = process.environ().get("ARC_DATA_DIR") == str(layout.data_dir)
            mine = mine or Path(process.cwd()).is_relative_to(layout.servers_dir.resolve())
            if mine and process.status() != psutil.STATUS_ZOMBIE:
                found.append(" ".join(process.cmdline()))
        except psutil.Error:
            continue
    return found


def kill_all(layout: Layout) -> None:
    """Ends every process that was started with this data folder."""
    for process in psutil.process_iter():
        try:
            if process.environ().get("ARC_DATA_DIR") == str(layout.data_dir):
                process.kill()
        except psutil.Error:
            continue
