"""`make run` as a process that tests start, listen to and kill."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil

from arcweb.embedded.layout import Layout
from tests.stack import CLEARED

ROOT = Path(__file__).resolve().parents[1]
PATIENCE = 240.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


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
        self._listener.join(2)  # the rest of what it said, unless a child of it still may say something
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
