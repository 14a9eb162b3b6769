"""Valkey on the embedded stack: one process for each Redis role. No Django."""

from __future__ import annotations

import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from arcweb.embedded import kept as settings_kept
from arcweb.embedded.binaries import Binaries
from arcweb.embedded.files import make_folder, read_owned, remove_owned, write_private
from arcweb.embedded.kept import Kept
from arcweb.embedded.layout import Layout
from arcweb.embedded.server import Server, StackOptions, Tell
from arcweb.embedded.server_user import ServerUser

CONFIGURATION = "valkey.conf"
#: The configuration as the last start wrote it, and what CONFIG REWRITE changed in it since.
WRITTEN, KEPT = "valkey.conf.written", "kept.json"
#: The Redis seed's snapshots: after 900 s if 1 key changed, 300 s if 10, 60 s if 10,000.
SAVE_LINES = ["900 1", "300 10", "60 10000"]


class Valkey(Server):
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
        self._binary = Path(options.redis_server) if options.redis_server else binaries.valkey
        self.program = self._binary.name

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
        return [self._binary, self.folder / CONFIGURATION]

    def prepare(self, tell: Tell) -> None:
        make_folder(self.folder, mode=0o700, owner=self.user)
        kept = settings_kept.after_start(
            settings_kept.loaded(self._read(KEPT)),
            settings_kept.parse(_text(self.settings())),
            written=self._read(WRITTEN),
            present=self._read(CONFIGURATION),
        )
        for name, one in kept.items():
            instead = f" instead of {one.instead_of}" if one.instead_of else ""
            tell(
                f"Valkey ({self.role}): {name} is {one.value or 'empty'}{instead}, as CONFIG REWRITE kept it"
            )
        text = self.configuration(kept)
        # In this order: a start that is killed in between finds the same again.
        write_private(self.folder / KEPT, settings_kept.dumped(kept), owner=self.user)
        write_private(self.folder / CONFIGURATION, text, owner=self.user)
        write_private(self.folder / WRITTEN, text, owner=self.user)

    def _read(self, name: str) -> str:
        try:
            return read_owned(self.folder / name, self.user)
        except UnicodeDecodeError:
            return ""

    def configuration(self, kept: Mapping[str, Kept] | None = None) -> str:
        """valkey.conf, written at every start, password included; kept: settings that win over ours."""
        kept = kept or {}
        lines = [line for line in self.settings() if line[0] not in kept]
        lines += [(name, one.value) for name, one in kept.items()]
        return f"# Written at every start from the project's settings.\n{_text(lines)}\n"

    def settings(self) -> list[tuple[str, str]]:
        """What the environment and this project say: name and value, a line each."""
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
            # As the page Configuration recommends.
            ("latency-monitor-threshold", "100"),
        ]
        if self.role == "cache":
            lines += [
                ("maxmemory", self.options.cache_maxmemory),
                ("maxmemory-policy", self.options.cache_policy),
                ("appendonly", "no"),
                # A full disk is no reason to stop caching.
                ("stop-writes-on-bgsave-error", "no"),
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
        return lines

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


def _text(lines: Sequence[tuple[str, str]]) -> str:
    return "\n".join(f"{name} {_argument(name, value)}" for name, value in lines)


def _argument(name: str, value: str) -> str:
    if name == "save" and value:  # two words, which quotes would make one
        return value
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
