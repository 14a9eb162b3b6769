"""Valkey on the embedded stack: one process for each Redis role. No Django."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import ClassVar

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from arcweb.embedded.binaries import Binaries
from arcweb.embedded.files import make_folder, remove_owned, write_private
from arcweb.embedded.layout import Layout
from arcweb.embedded.server import Server, StackOptions, Tell
from arcweb.embedded.server_user import ServerUser

CONFIGURATION = "valkey.conf"
#: The Redis seed's snapshots: after 900 s if 1 key changed, 300 s if 10, 60 s if 10,000.
SAVE_LINES = ["900 1", "300 10", "60 10000"]


class Valkey(Server):
    program: ClassVar[str] = "valkey-server"
    title: ClassVar[str] = "Valkey"
    #: It saves, then ends; it refuses to end when it cannot save.
    stop_signal: ClassVar[signal.Signals] = signal.SIGTERM
    hard_stop_signal: ClassVar[signal.Signals] = signal.SIGTERM

    def __init__(
        self, role: str, layout: Layout, options: StackOptions, binaries: Binaries, user: ServerUser
    ) -> None:
        """role: `cache` or `state`."""
        super().__init__(layout, options, binaries, user)
        self.role = role

    @property
    def name(self) -> str:
        return f"valkey-{self.role}"

    @property
    def folder(self) -> Path:
        return self.layout.real_servers_dir / self.layout.valkey_dir(self.role).name

    @property
    def pid_file(self) -> Path:
        return self.folder / "valkey.pid"

    @property
    def socket(self) -> Path:
        return self.layout.valkey_socket(self.role)

    def argv(self) -> list[str | Path]:
        return [self.binaries.valkey, self.folder / CONFIGURATION]

    def prepare(self, tell: Tell) -> None:
        make_folder(self.folder, mode=0o700, owner=self.user)
        write_private(self.folder / CONFIGURATION, self.configuration(), owner=self.user)

    def configuration(self) -> str:
        """valkey.conf, written at every start, password included."""
        lines = [
            ("port", "0"),
            ("unixsocket", str(self.socket)),
            ("unixsocketperm", "700"),
            ("requirepass", self.layout.read_secret("redis-password")),
            ("daemonize", "no"),
            ("pidfile", str(self.pid_file)),
            ("dir", str(self.folder)),
            ("dbfilename", "dump.rdb"),
            ("appendfilename", "appendonly.aof"),
            # A tail cut off by kill -9 is dropped instead of refusing to start.
            ("aof-load-truncated", "yes"),
            ("always-show-logo", "no"),
        ]
        if self.role == "cache":
            lines += [
                ("maxmemory", self.options.cache_maxmemory),
                ("maxmemory-policy", self.options.cache_policy),
                ("appendonly", "no"),
            ]
        else:
            lines += [
                ("maxmemory-policy", "noeviction"),
                ("appendonly", "yes"),
                ("appendfsync", "no" if self.options.throwaway else "everysec"),
            ]
        if self.options.throwaway:
            # One database for each parallel test process.
            lines += [("databases", "64"), ("save", "")]
        else:
            lines += [("save", line) for line in SAVE_LINES]
        text = "\n".join(f"{name} {_argument(name, value)}" for name, value in lines)
        return f"# Written at every start from the project's settings.\n{text}\n"

    def state(self) -> str:
        client = redis.Redis(
            unix_socket_path=str(self.socket),
            password=self.layout.read_secret("redis-password"),
            socket_timeout=2,
            retry=Retry(NoBackoff(), 0),
        )
        try:
            client.ping()
        except redis.exceptions.BusyLoadingError:
            return "starting"
        except redis.exceptions.RedisError:
            return "silent"
        finally:
            client.close()
        return "ready"

    def remove_stale(self) -> None:
        for path in (self.pid_file, self.layout.real_socket_dir / self.socket.name):
            remove_owned(path, self.user)


def _argument(name: str, value: str) -> str:
    if name == "save" and value:  # two words, which quotes would make one
        return value
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
