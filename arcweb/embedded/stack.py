"""The embedded servers as one thing: start, stop, status. No Django.

stack = Stack(Layout(data_dir), StackOptions())
stack.start(tell=print)   # idempotent: running servers are adopted
stack.status()            # a ServerStatus for each
stack.stop()              # Valkey, then PostgreSQL; all data is on disk
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import TypeVar

from arcweb.embedded import binaries as programs
from arcweb.embedded.binaries import SHARED_DIR
from arcweb.embedded.errors import EmbeddedError
from arcweb.embedded.files import PRIVATE, locked, make_folder, prepare_data_folder
from arcweb.embedded.layout import Layout, open_to_all
from arcweb.embedded.postgres import Postgres
from arcweb.embedded.server import Server, ServerStatus, StackOptions, Tell
from arcweb.embedded.server_user import ServerUser, server_user
from arcweb.embedded.valkey import Valkey

__all__ = ["Stack", "StackOptions"]
ServerT = TypeVar("ServerT", bound=Server)


def quiet(_message: str) -> None:
    """Tells nobody."""


class Stack:
    """PostgreSQL and one Valkey for each role on one data folder."""

    def __init__(self, layout: Layout, options: StackOptions | None = None) -> None:
        self.layout = layout
        self.options = options or StackOptions()

    @cached_property
    def user(self) -> ServerUser:
        return server_user(self.options.server_user, self.layout.servers_dir)

    @cached_property
    def postgres(self) -> Postgres:
        return self._make(Postgres)

    @cached_property
    def servers(self) -> list[Server]:
        """In the order in which they start."""
        valkeys = [self._make(lambda *args, role=role: Valkey(role, *args)) for role in self.options.roles]
        return [self.postgres, *valkeys] if self.options.postgres else [*valkeys]

    def start(self, tell: Tell = quiet) -> None:
        """Starts what does not run yet and returns when all answer. Raises EmbeddedError in words."""
        prepare_data_folder(self.layout)
        with locked(self.layout.run_dir / "servers.lock"):
            self._make_servers_folder()
            make_folder(self.layout.real_socket_dir, mode=PRIVATE, owner=self.user)
            for server in self.servers:
                if server.process() is None:
                    server.prepare(tell)
                server.start()
            for server in self.servers:
                server.bring_up(tell)
            if self.options.postgres:
                self.postgres.initialise(tell)

    def stop(self, tell: Tell = quiet, *, kill: bool = False) -> None:
        """Stops what runs: Valkey first, PostgreSQL last. kill: nobody needs the data any more."""
        if not self.layout.run_dir.is_dir():
            return
        with locked(self.layout.run_dir / "servers.lock"):
            for server in reversed(self.servers):
                server.stop(tell, kill=kill)
            with suppress(OSError):  # something else still has a socket there, or it is gone
                self.layout.socket_dir.rmdir()

    def status(self) -> list[ServerStatus]:
        return [server.status() for server in self.servers]

    def destroy(self) -> None:
        """Kills a throw-away stack and deletes all of it."""
        if not self.options.throwaway:
            raise EmbeddedError("Only a throw-away stack can be destroyed; delete the data folder by hand.")
        self.stop(kill=True)
        delete_data(self.layout)

    def _make(self, kind: Callable[..., ServerT]) -> ServerT:
        found = programs.for_other_account() if self.user.switches else programs.installed()
        return kind(self.layout, self.options, found, self.user)

    def _make_servers_folder(self) -> None:
        """servers/ belongs to the servers' account; as root, elsewhere when that account cannot get here."""
        folder = self.layout.servers_dir
        if folder.is_symlink():
            if not folder.is_dir():
                raise EmbeddedError(
                    f"{folder} is a link to {folder.readlink()}, which is gone: the servers' data was there. "
                    "Bring it back, or remove the link to start with empty servers."
                )
        elif not folder.is_dir() and self.user.switches and not open_to_all(self.layout.data_dir):
            SHARED_DIR.mkdir(mode=0o755, parents=True, exist_ok=True)
            SHARED_DIR.chmod(0o755)
            real = Path(tempfile.mkdtemp(prefix="servers-", dir=SHARED_DIR))
            self.user.take(real)
            folder.symlink_to(real)
        make_folder(self.layout.real_servers_dir, mode=PRIVATE, owner=self.user)


def delete_data(layout: Layout) -> None:
    """Deletes the data folder and what belongs to it elsewhere. The servers must be stopped."""
    for folder in (layout.servers_dir.resolve(), layout.socket_dir, layout.data_dir):
        shutil.rmtree(folder, ignore_errors=True)
