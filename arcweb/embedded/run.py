"""`make run`: the whole system in the foreground. python -m arcweb.embedded.run

Servers, migrations, the application's processes; then it watches over them until Ctrl-C or SIGTERM, and
stops all of them in order. Exit code 0 after a stop that was asked for, 1 after a failure, in words.
"""

from __future__ import annotations

import errno
import os
import signal
import socket
import sys
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from types import FrameType

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from arcweb import paused
from arcweb.backups.restore.journal import Folder
from arcweb.embedded.errors import EmbeddedError
from arcweb.embedded.exchange import Exchanger
from arcweb.embedded.files import PRIVATE, make_folder, prepare_data_folder, write_private
from arcweb.embedded.layout import Layout
from arcweb.embedded.options import stack_from_settings
from arcweb.embedded.processes import last_lines
from arcweb.embedded.programs import Program
from arcweb.embedded.restart import Restarter
from arcweb.embedded.run_lock import Holder, run_lock
from arcweb.embedded.server_user import ServerUser
from arcweb.embedded.services import manage, services, url
from arcweb.embedded.supervisor import Supervisor, end_remembered, remember
from arcweb.embedded.valkey import Valkey

#: Seconds until the web answers and the worker is ready; a slow disk with a cold cache takes half of it.
READY_WITHIN = 120.0


def tell(message: str) -> None:
    """One line to the operator; a terminal that is gone must not stop the stopping."""
    with suppress(OSError, ValueError):
        print(message, flush=True)


class Run:
    """One `make run`, from the first process to the last."""

    def __init__(self) -> None:
        self.started = time.monotonic()
        self.stack = stack_from_settings(dies_with_parent=True) if settings.ARC_EMBEDDED else None
        self.programs: list[Program] = []
        self.demo: Program | None = None
        self.restarter: Restarter | None = None
        self.exchanger: Exchanger | None = None
        self.supervisor = Supervisor(tell, wanted=lambda: self.requests == 0)
        self.requests = 0
        self.interruptible = True
        self._remembered: list[int] = []

    def main(self) -> int:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._on_signal)
        with ExitStack() as exits:
            try:
                prepare_data_folder(settings.ARC_LAYOUT, with_secrets=self.stack is not None)
                exits.enter_context(run_lock(settings.ARC_LAYOUT, Holder(os.getpid(), url())))
                end_remembered(settings.ARC_LAYOUT.children_file, tell)
                check_port(settings.ARC_BIND, settings.ARC_PORT)
                exits.callback(self._stop)
                self._start()
                self.interruptible = False
                self._serve()
            except EmbeddedError as error:
                self.interruptible = False
                print(f"\n{error}", file=sys.stderr, flush=True)
                return 1
            except KeyboardInterrupt:
                self.interruptible = False
        return 0

    def _start(self) -> None:
        """Servers first, then what the database needs, then the programs."""
        if self.stack is not None:
            tell(f"Starting PostgreSQL and Valkey on {settings.ARC_DATA_DIR}")
            self.stack.start(tell)
            self.supervisor.watch(self.stack.servers)
        tell("Preparing the database")
        if Folder(settings.ARC_BACKUP_DIR).unfinished() or paused.is_on(settings.ARC_BACKUP_DIR):
            # A restore was killed; live may take no connections.
            run_to_end(manage("backup", "recover", "--at-start"))
        files = manage("collectstatic", "--noinput", "--clear", "--verbosity", "0")
        files.start()
        run_to_end(manage("migrate", "--noinput"))
        run_to_end(manage("ensure_admin"))
        wait_for_end(files)
        tell("Starting the application")
        self.programs = services(self._model_server())
        for program in self.programs:
            program.start()
            self._remember()
        self.supervisor.watch(self.programs)

    def _serve(self) -> None:
        def all_ready() -> bool:
            return all(program.ready() for program in self.programs)

        if not self.supervisor.wait(all_ready, READY_WITHIN):
            if self.requests:
                return
            late = next(program for program in self.programs if not program.ready())
            raise EmbeddedError(
                f"{late.name} was not ready within {READY_WITHIN:.0f} s, so everything is stopped. "
                f"The end of its log {late.log}:\n{last_lines(late.log)}"
            )
        self._tell_ready()
        if self.stack is not None and not self._demo_marker.exists():
            self.demo = manage("demo")
            self.demo.start()
        self._remember()
        if self.stack is not None:
            self.restarter = Restarter(settings.ARC_LAYOUT, self.stack.postgres, tell)
            valkeys = [server for server in self.stack.servers if isinstance(server, Valkey)]
            self.exchanger = Exchanger(settings.ARC_LAYOUT, valkeys, tell)
        self.supervisor.run(self._look_around)

    def _look_around(self) -> None:
        """What pages asked for: PostgreSQL restarted, a Valkey's data exchanged; the demo; new processes."""
        if self.restarter is not None:
            self.restarter.look()
        if self.exchanger is not None:
            self.exchanger.look()
        if self.demo is not None and (reason := self.demo.exit_reason()) is not None:
            if self.stack is not None:
                write_private(self._demo_marker, "", owner=self.stack.user)
            if reason != "exit code 0":
                tell(f"The demo data was not made ({reason}). Log: {self.demo.log}. Try: manage.py demo")
            self.demo = None
        self._remember()

    def _model_server(self) -> str:
        """Where the processes find the local model: as the operator says, else in one process for all."""
        layout: Layout = settings.ARC_LAYOUT
        # Settings have read .env into the environment by now, and what is started inherits it.
        server = os.environ.setdefault("ARC_MODEL_SERVER", str(layout.model_socket))
        if self.stack is None and server == str(layout.model_socket):
            me = ServerUser("this user", os.getuid(), os.getgid())
            make_folder(layout.real_socket_dir, mode=PRIVATE, owner=me)
        return server

    def _stop(self) -> None:
        """Programs in reverse order, then Valkey, then PostgreSQL. Another Ctrl-C cuts the patience short."""
        tell("\nStopping")
        before = self.requests

        def hurry() -> bool:
            return self.requests > max(before, 1)

        for program in reversed([*self.programs, *([self.demo] if self.demo else [])]):
            program.stop(hurry=hurry)
        if self.stack is not None:
            self.stack.stop(tell)
        else:
            with suppress(OSError):  # never made, or something else still has a socket there
                settings.ARC_LAYOUT.socket_dir.rmdir()
        settings.ARC_LAYOUT.children_file.unlink(missing_ok=True)
        tell("Everything is stopped.")

    def _remember(self) -> None:
        programs = [*self.programs, *([self.demo] if self.demo else [])]
        pids = [program.child.pid for program in programs if program.child is not None]
        if pids != self._remembered:
            self._remembered = pids
            remember(settings.ARC_LAYOUT.children_file, pids)

    @property
    def _demo_marker(self) -> Path:
        """Beside the databases, so that it goes where they go."""
        layout: Layout = settings.ARC_LAYOUT
        return layout.real_servers_dir / "demo-asked"

    def _tell_ready(self) -> None:
        password = settings.ARC_LAYOUT.admin_password_file
        where = (
            f"in the file {password}"
            if password.exists()
            else "as you set it (manage.py changepassword admin)"
        )
        lines = [
            "",
            f"ARC Web is ready after {time.monotonic() - self.started:.0f} s.",
            f"  Open      {url()}",
            "  User      admin",
            f"  Password  {where}",
            f"  Data      {settings.ARC_DATA_DIR}",
            f"  Logs      {settings.ARC_LAYOUT.log_dir}",
            "Ctrl-C stops everything and keeps the data.",
            "",
        ]
        tell("\n".join(lines))

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self.requests += 1
        if self.interruptible:
            self.interruptible = False
            raise KeyboardInterrupt


def check_port(bind: str, port: int) -> None:
    """Raises EmbeddedError when the web process could not listen there."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            bind or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except socket.gaierror as error:
        raise EmbeddedError(
            f"ARC_BIND is {bind!r}, which is no address of this machine. Try ARC_BIND=127.0.0.1"
        ) from error
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise EmbeddedError(
                f"Port {port} on {bind} is taken by another program. Choose another, for example: "
                "ARC_PORT=8001 make run"
            ) from error
        raise EmbeddedError(
            f"ARC Web cannot listen on {bind} port {port}: {error.strerror}. Choose another port or address, "
            "for example: ARC_PORT=8001 make run"
        ) from error


def run_to_end(program: Program) -> None:
    """Runs a command and waits. Raises EmbeddedError with the end of its log when it fails."""
    program.start()
    wait_for_end(program)


def wait_for_end(program: Program) -> None:
    """Waits for a command that was started. Raises EmbeddedError with the end of its log when it fails."""
    try:
        while (reason := program.exit_reason()) is None:
            time.sleep(0.05)
    except KeyboardInterrupt:
        program.stop()
        raise
    if reason != "exit code 0":
        raise EmbeddedError(
            f"manage.py {program.name} failed ({reason}). The end of its log {program.log}:\n"
            f"{last_lines(program.log)}"
        )


def main() -> int:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "arcweb.settings")
    try:
        run = Run()
    except ImproperlyConfigured as error:
        print(f"ARC Web cannot start: {error}", file=sys.stderr)
        return 1
    except EmbeddedError as error:
        print(error, file=sys.stderr)
        return 1
    return run.main()


if __name__ == "__main__":
    sys.exit(main())
