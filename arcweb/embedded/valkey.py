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
from arcweb.embedded.errors import EmbeddedError
from arcweb.embedded.files import make_folder, read_owned, remove_owned, write_private
from arcweb.embedded.kept import Kept
from arcweb.embedded.layout import Layout
from arcweb.embedded.rdb_swap import Place
from arcweb.embedded.server import Server, StackOptions, Tell
from arcweb.embedded.server_user import ServerUser

CONFIGURATION = "valkey.conf"
#: The configuration as the last start wrote it, and what CONFIG REWRITE changed in it since.
WRITTEN, KEPT = "valkey.conf.written", "kept.json"
#: The Redis seed's snapshots: after 900 s if 1 key changed, 300 s if 10, 60 s if 10,000.
SAVE_LINES = ["900 1", "300 10", "60 10000"]
#: Seconds that a server gets to write what it holds and end.
SHUTDOWN_SECONDS = 600.0


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

    @property
    def place(self) -> Place:
        """Where its data are exchanged for others."""
        return Place(self.folder, self.user)

    def prepare(self, tell: Tell) -> None:
        make_folder(self.folder, mode=0o700, owner=self.user)
        # Gone with the last server, and this one may be started alone.
        make_folder(self.layout.real_socket_dir, mode=0o700, owner=self.user)
        if (undone := self.place.recover()) is not None:
            tell(f"Valkey ({self.role}): {undone.sentence}")
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

    def client(self, *, timeout: float = 2.0) -> redis.Redis:
        """As its administrator, without retries; nothing connects before the first command."""
        return redis.Redis(
            unix_socket_path=str(self.socket),
            password=self.layout.read_secret("redis-password"),
            socket_timeout=timeout,
            retry=Retry(NoBackoff(), 0),
        )

    def keeps_aof(self) -> bool:
        """Whether its configuration, as the next start writes it, has an append-only file."""
        return settings_kept.parse(self._read(CONFIGURATION)).get("appendonly") == "yes"

    def databases(self) -> int:
        """How many it has, by the same."""
        return int(settings_kept.parse(self._read(CONFIGURATION)).get("databases", 16))

    def shut_down(self, *, save: bool = True) -> None:
        """Ends it with all that it holds on disk. Raises EmbeddedError, and it runs on, when it cannot.

        save: False: what it holds is on disk already.
        """
        process = self.process()
        if process is None:
            return
        with self.client(timeout=SHUTDOWN_SECONDS) as client:
            try:
                info = client.info("persistence")
                # What stands in the append-only file needs no snapshot too.
                whole = bool(info.get("aof_enabled")) and info.get("aof_last_write_status") == "ok"
                client.shutdown(nosave=whole or not save, save=not whole and save)
            except redis.exceptions.RedisError as error:
                raise EmbeddedError(
                    f"{self.name} could not write what it holds, and did not end ({error}). Its log is "
                    f"{self.log}."
                ) from error
        if not self._wait_for_end(process, SHUTDOWN_SECONDS):
            raise EmbeddedError(f"{self.name} did not end in time. Its log is {self.log}.")

    def bring_up(self, tell: Tell) -> None:
        """An exchange of its data ends here: well when it answers, else with the data of before."""
        swap = self.place.starts_with_new()
        try:
            self.wait_until_ready(tell)
        except EmbeddedError as error:
            if swap is None:
                raise
            self.place.put_back(swap)
            self.place.end(
                swap, f"It did not start with the new data and has the old ones: {error}", well=False
            )
            tell(f"Valkey ({self.role}) does not start with the new data; the old ones are put back")
            self.start()
            self.wait_until_ready(tell)
            return
        if swap is not None:
            self.place.end(swap, "The data were exchanged.", well=True)

    def state(self) -> str:
        client = self.client()
        try:
            client.ping()
        except redis.exceptions.BusyLoadingError:
            return "starting"
        except redis.exceptions.ResponseError as error:
            # It could not save its data: it refuses writes, and PING with them, and works on.
            return "ready" if str(error).startswith("MISCONF") else "silent"
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
