"""What PostgreSQL and Valkey share: one process on one folder, started, found again, ended. No Django."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import psutil

from arcweb.embedded.binaries import Binaries
from arcweb.embedded.errors import EmbeddedError
from arcweb.embedded.files import check_folder
from arcweb.embedded.layout import Layout
from arcweb.embedded.processes import (
    alive,
    how_it_ended,
    last_lines,
    servers_on,
    serves,
    spawn,
    trim_log,
    wait_until,
)
from arcweb.embedded.server_user import ServerUser

Tell = Callable[[str], None]
TELL_EVERY = 5.0


@dataclass(frozen=True)
class StackOptions:
    """What the stack is told by settings; the defaults are those of `arcweb.settings`."""

    server_user: str = ""
    database_user: str = "arc"
    database: str = "arc"
    template_database: str = "arc_template"
    cache_maxmemory: str = "256mb"
    cache_policy: str = "allkeys-lru"
    #: Which Valkey roles to run: none for a role whose URL names somebody else's server.
    roles: tuple[str, ...] = ("cache", "state")
    #: The program of another product's server (Redis) for the roles; empty: the wheel's Valkey. For tests:
    #: what one product has written the other cannot read.
    redis_server: str = ""
    #: For tests that need Redis alone and want it soon: no PostgreSQL.
    postgres: bool = True
    #: For tests: nothing is synced to disk, small buffers; `Stack.destroy` may delete it.
    throwaway: bool = False
    #: PostgreSQL archives its write-ahead log. None: unless it is throw-away.
    archive: bool | None = None
    #: The servers end when the process that started them ends, however it ends.
    dies_with_parent: bool = False

    @property
    def archives(self) -> bool:
        return not self.throwaway if self.archive is None else self.archive


@dataclass(frozen=True)
class ServerStatus:
    """One server as it is now.

    state: `ready`, `starting` (recovering, or loading its data), `silent` (runs but does not answer) or
    `stopped`; pid: None when it is stopped.
    """

    name: str
    state: str
    pid: int | None
    socket: str
    log: str

    @property
    def ready(self) -> bool:
        return self.state == "ready"


class Server(ABC):
    """A server process on its own folder. Whoever started it, it is found by its pid file and folder."""

    program: str
    title: ClassVar[str]
    stop_signal: ClassVar[signal.Signals]
    #: Sent when the polite signal brought no end: PostgreSQL then recovers from its log at the next start.
    hard_stop_signal: ClassVar[signal.Signals]

    def __init__(self, layout: Layout, options: StackOptions, binaries: Binaries, user: ServerUser) -> None:
        self.layout = layout
        self.options = options
        self.binaries = binaries
        self.user = user
        self.child: subprocess.Popen[bytes] | None = None

    @property
    @abstractmethod
    def name(self) -> str: ...

    @property
    @abstractmethod
    def folder(self) -> Path:
        """The server's data folder, the link `servers` followed: the server's account may not pass it."""

    @property
    @abstractmethod
    def pid_file(self) -> Path: ...

    @property
    @abstractmethod
    def socket(self) -> Path: ...

    @abstractmethod
    def prepare(self, tell: Tell) -> None:
        """Makes the data folder and writes the configuration. Idempotent."""

    @abstractmethod
    def argv(self) -> list[str | Path]: ...

    @abstractmethod
    def state(self) -> str:
        """`ready`, `starting` (it answers, but not yet to queries) or `silent`."""

    @abstractmethod
    def remove_stale(self) -> None:
        """Removes what a killed server left behind. Only called when no such server runs."""

    @property
    def log(self) -> Path:
        return self.layout.log_dir / f"{self.name}.log"

    def process(self) -> psutil.Process | None:
        """The running server, or None. A pid file whose number now is another process's is not it."""
        try:
            process = psutil.Process(int(self.pid_file.read_text().split()[0]))
            # Root in a container may not see another account's folder. A process that took over a dead
            # server's number is younger than the pid file.
            elder = process.create_time() <= self.pid_file.stat().st_mtime + 1
        except (OSError, ValueError, IndexError, psutil.NoSuchProcess):
            return None
        return process if serves(process, self.program, self.folder, unsure=elder) else None

    def exit_reason(self) -> str | None:
        """None while it runs, else why it ended, in words."""
        if self.child is not None:
            code = self.child.poll()
            return None if code is None else how_it_ended(code)
        return None if self.process() is not None else "it is gone"

    def start(self) -> None:
        """Starts the process without waiting for it; adopts one that runs already."""
        trim_log(self.log)
        if (running := self.process()) is not None:
            if self.child is not None and self.child.pid != running.pid:
                self.child = None
            return
        self._end_leftovers()
        check_folder(self.folder, self.user)
        self.remove_stale()
        self.child = spawn(
            self.argv(),
            log=self.log,
            cwd=self.folder,
            env={"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"},
            user=self.user,
            dies_with_parent=self.stop_signal if self.options.dies_with_parent else None,
        )

    def wait_until_ready(self, tell: Tell) -> None:
        """Returns when it answers queries. No time limit while it lives: recovery takes what it takes.

        Raises EmbeddedError with the end of its log when it ends instead.
        """
        started = last_told = time.monotonic()
        while (state := self.state()) != "ready":
            if (reason := self.exit_reason()) is not None:
                raise EmbeddedError(
                    f"{self.title} did not start ({reason}). The end of its log {self.log}:\n"
                    f"{last_lines(self.log)}"
                )
            if time.monotonic() - last_told > TELL_EVERY:
                last_told = time.monotonic()
                doing = "is recovering its data" if state == "starting" else "does not answer yet"
                tell(
                    f"{self.title} {doing}, {last_told - started:.0f} s so far. Last line of {self.log}:\n"
                    f"{last_lines(self.log, 1)}"
                )
            time.sleep(0.02)

    def bring_up(self, tell: Tell) -> None:
        """As `wait_until_ready`, and what else belongs to the end of a start."""
        self.wait_until_ready(tell)

    def stop(self, tell: Tell, *, kill: bool = False) -> None:
        """Ends the server and waits for it; what it holds is on disk then. Wakes a frozen one.

        kill: nobody needs its data any more.
        """
        process = self.process()
        if process is None:
            self._end_leftovers()
            return
        steps = [(self.stop_signal, 60.0), (self.hard_stop_signal, 10.0), (signal.SIGKILL, 10.0)]
        for number, seconds in steps[-1:] if kill else steps:
            self._signal(process, number)
            if self._wait_for_end(process, seconds):
                self._end_leftovers()
                return
            tell(f"{self.title} did not stop within {seconds:.0f} s of {number.name}; trying harder.")
        raise EmbeddedError(f"{self.title} (process {process.pid}) cannot be stopped. Its log is {self.log}.")

    def status(self) -> ServerStatus:
        process = self.process()
        return ServerStatus(
            name=self.name,
            state="stopped" if process is None else self.state(),
            pid=process.pid if process is not None else None,
            socket=str(self.socket),
            log=str(self.log),
        )

    def _wait_for_end(self, process: psutil.Process, seconds: float) -> bool:
        def ended() -> bool:
            if self.child is not None:
                self.child.poll()
            return not alive(process)

        return wait_until(ended, seconds)

    def _signal(self, process: psutil.Process, number: signal.Signals) -> None:
        with suppress(psutil.NoSuchProcess):
            helpers = process.children(recursive=True)
            process.send_signal(number)
            for each in (process, *helpers):
                with suppress(psutil.NoSuchProcess):
                    each.send_signal(signal.SIGCONT)

    def _end_leftovers(self) -> None:
        """Ends helpers that outlived a killed main process: they hold its shared memory or its files."""
        if not wait_until(lambda: not servers_on(self.program, self.folder), 2.0, every=0.1):
            for process in servers_on(self.program, self.folder):
                with suppress(ProcessLookupError):
                    os.kill(process.pid, signal.SIGKILL)
            wait_until(lambda: not servers_on(self.program, self.folder), 5.0, every=0.1)
