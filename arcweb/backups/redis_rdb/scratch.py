"""A server of our own that loads an RDB: private socket and password, no AOF, nothing saved, deleted after.

Its folder is below the backups' spool; as root the servers' account gets it, and where that cannot reach the
backups, one below /var/lib/arcweb. What a killed process left is deleted by the next one.
"""

from __future__ import annotations

import fcntl
import os
import re
import resource
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import psutil
from redis import Redis

from arcweb.backups.exceptions import BackupError, CorruptCopy, SpaceError
from arcweb.backups.proving.ladder import NotTried
from arcweb.backups.redis_rdb.programs import Program, missing, readers
from arcweb.backups.redis_rdb.rdb import Head
from arcweb.backups.redis_rdb.saving import Tell
from arcweb.backups.streams import BLOCK, RESERVE, Readable, free_bytes
from arcweb.charts import size
from arcweb.embedded.binaries import Binaries
from arcweb.embedded.errors import EmbeddedError
from arcweb.embedded.files import opened_folder
from arcweb.embedded.layout import Layout
from arcweb.embedded.memory import usable_memory
from arcweb.embedded.processes import last_lines
from arcweb.embedded.server import Server, StackOptions
from arcweb.embedded.server_user import ServerUser
from arcweb.embedded.stack import Stack
from arcweb.embedded.valkey import Valkey

PREFIX, ROLE = "rdb-", "scratch"
FILE = "dump.rdb"
#: Memory for a loaded RDB, as a multiple of what its server used, and beside it: the program and its tables.
GROWTH, BASE_MEMORY = 1.3, 64 * 1024**2
#: Address space, of which allocators reserve more than they use.
ADDRESSES, BASE_ADDRESSES = 3, 1024**3
#: Seconds that a load may take: 100 GB at 30 MB a second.
PATIENCE = 3600.0
DATABASES = 16384
NEWER = re.compile(r"can't handle RDB format version|Unknown RDB (?:encoding|opcode)", re.IGNORECASE)
MODULE = re.compile(r"module data I can't load|no matching module|Unrecognized RDB AUX module", re.IGNORECASE)
MEMORY = re.compile(r"Out Of Memory|OOM", re.IGNORECASE)
WHY = re.compile(
    r"RDB checksum|reading offset|Internal error in RDB|Short read|Terminating server|Wrong signature|"
    r"Unrecoverable|integrity|can't handle|module data|no matching module|AUX module",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Loaded:
    """An RDB in a server. loaded, expired: keys, those of the second were past their time and left out."""

    client: Redis
    by: Program
    loaded: int
    expired: int
    seconds: float


@contextmanager
def loading(
    source: Readable, raw_bytes: int, head: Head, *, spool: Path, account: str, tell: Tell
) -> Iterator[Loaded]:
    """A server with that RDB loaded, while the block lasts.

    source: the raw RDB, which is raw_bytes long and no longer. spool: below it the work is done. account:
    ARC_SERVER_USER. Raises CorruptCopy for a file that cannot be loaded, NotTried and SpaceError where the
    reason is this machine, and what `source` and `tell` raise.
    """
    found = readers(head)
    if not found:
        raise NotTried(missing(head))
    room_in_memory(head)
    sweep(spool)
    with _folder(spool) as folder:
        options = StackOptions(
            server_user=account,
            postgres=False,
            roles=(ROLE,),
            redis_server=found[0].path,
            throwaway=True,
            dies_with_parent=True,
        )
        stack = _Stack(Layout(folder), options, _Rdb(source, raw_bytes, head))
        began = time.monotonic()
        try:
            client = _started(stack, found[0], head, _bounded(tell))
            yield Loaded(client, found[0], *loaded_keys(client), round(time.monotonic() - began, 3))
        finally:
            with suppress(EmbeddedError):
                stack.destroy()


def loaded_keys(client: Redis) -> tuple[int, int]:
    """Keys that the server has loaded, and those that it left out because they are past their time."""
    info = client.info("persistence")
    return int(info.get("rdb_last_load_keys_loaded", 0)), int(info.get("rdb_last_load_keys_expired", 0))


def incoming(live: Valkey, source: Readable, raw_bytes: int, head: Head) -> Valkey:
    """A server of the live one's program, account and databases, in the folder of what shall take its
    place."""
    return _Scratch(
        _Rdb(source, raw_bytes, head),
        live.layout,
        replace(live.options, dies_with_parent=True),
        live.binaries,
        live.user,
        role=live.place.incoming.name.removeprefix("valkey-"),
        databases=live.databases(),
    )


def brought_up(server: Valkey, head: Head, tell: Tell) -> Redis:
    """Starts it and waits until it has loaded its RDB. Raises as `loading` does."""
    try:
        server.prepare(tell)
        server.start()
        server.bring_up(_bounded(tell))
    except EmbeddedError as error:
        by = Program("Valkey", "of the embedded stack")
        raise _explained(last_lines(server.log, 60), by, head, error) from error
    return server.client(timeout=PATIENCE)


def sweep(spool: Path) -> None:
    """Ends the servers and deletes the folders of processes that were killed: nobody holds their lock."""
    for folder in spool.glob(f"{PREFIX}*"):
        try:
            with (folder / "lock").open("r+") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _Stack(Layout(folder), StackOptions(postgres=False, throwaway=True), None).destroy()
        except (OSError, EmbeddedError):
            continue  # in use, or just being made
        shutil.rmtree(folder, ignore_errors=True)


@dataclass(frozen=True)
class _Rdb:
    source: Readable
    bytes: int
    head: Head


class _Scratch(Valkey):
    """Loads an RDB and holds it in memory alone."""

    def __init__(
        self,
        rdb: _Rdb | None,
        layout: Layout,
        options: StackOptions,
        binaries: Binaries,
        user: ServerUser,
        *,
        role: str = ROLE,
        databases: int = DATABASES,
    ) -> None:
        super().__init__(role, layout, options, binaries, user)
        self._rdb = rdb
        self._databases = databases

    def settings(self) -> list[tuple[str, str]]:
        return [
            ("port", "0"),
            ("unixsocket", str(self.socket)),
            ("unixsocketperm", "700"),
            ("requirepass", self.layout.read_secret("redis-password")),
            ("daemonize", "no"),
            ("pidfile", str(self.pid_file)),
            ("dir", str(self.folder)),
            ("dbfilename", FILE),
            ("databases", str(self._databases)),
            ("appendonly", "no"),
            ("save", ""),
            ("maxmemory", "0"),
            # What is inside lists and hashes is looked at too, not believed.
            ("sanitize-dump-payload", "yes"),
            # A file that makes the server fall needs no report of its registers and no test of the memory.
            ("crash-log-enabled", "no"),
            ("crash-memcheck-enabled", "no"),
            ("always-show-logo", "no"),
        ]

    def prepare(self, tell: Tell) -> None:
        super().prepare(tell)
        if self._rdb is None:
            return
        if (free := free_bytes(self.folder)) < self._rdb.bytes + RESERVE:
            raise SpaceError(
                f"To try the copy, {size(self._rdb.bytes)} are needed on the disk of {self.folder.parent}, "
                f"where {size(free)} are free and {size(RESERVE)} stay free for the servers. Make room, then "
                "retry."
            )
        tell("unpacking the copy")
        put(self._rdb.source, self._rdb.bytes, self.folder, FILE, self.user)

    def start(self) -> None:
        super().start()
        if self._rdb is not None and self.child is not None and hasattr(resource, "prlimit"):
            most = BASE_ADDRESSES + ADDRESSES * max(self._rdb.head.memory, self._rdb.bytes)
            with suppress(OSError):
                resource.prlimit(self.child.pid, resource.RLIMIT_AS, (most, most))


class _Stack(Stack):
    def __init__(self, layout: Layout, options: StackOptions, rdb: _Rdb | None) -> None:
        super().__init__(layout, options)
        self._rdb = rdb

    @cached_property
    def servers(self) -> list[Server]:
        return [self._make(lambda *args: _Scratch(self._rdb, *args))]


def put(source: Readable, raw_bytes: int, folder: Path, name: str, user: ServerUser) -> None:
    """Writes the source as a new file of that account's, mode 600, synced. Raises CorruptCopy for one longer
    or shorter than raw_bytes, OSError, and what the source raises; then the file is gone."""
    with opened_folder(folder, user) as place:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(name, flags, 0o600, dir_fd=place)
        try:
            with os.fdopen(descriptor, "wb") as file:
                user.take(file.fileno())
                for block in exactly(source, raw_bytes):
                    file.write(block)
                file.flush()
                os.fsync(file.fileno())
        except BaseException:
            with suppress(FileNotFoundError):
                os.unlink(name, dir_fd=place)
            raise


def exactly(source: Readable, raw_bytes: int) -> Iterator[bytes]:
    """Everything that the source gives. Raises CorruptCopy as soon as it is more than raw_bytes, or less."""
    done = 0
    while block := source.read(BLOCK):
        done += len(block)
        if done > raw_bytes:
            raise CorruptCopy(f"The copy holds more than the {raw_bytes:,} bytes that its manifest says.")
        yield block
    if done != raw_bytes:
        raise CorruptCopy(f"The copy holds {done:,} bytes, and its manifest says {raw_bytes:,}.")


@contextmanager
def _folder(spool: Path) -> Iterator[Path]:
    """A new folder with its lock held; deleted at the end."""
    folder = spool / f"{PREFIX}{secrets.token_hex(6)}"
    spool.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.mkdir(mode=0o711)
    try:
        with (folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def room_in_memory(head: Head) -> None:
    """Raises NotTried when loading it would take more memory than is free."""
    needed = int(head.memory * GROWTH) + BASE_MEMORY
    free = min(psutil.virtual_memory().available, usable_memory())
    if head.memory and needed > free:
        raise NotTried(
            f"Loading it takes about {size(needed)} of memory, and {size(free)} are free on this machine: "
            "try it on a larger one, or when less is running."
        )


def _bounded(tell: Tell) -> Tell:
    until = time.monotonic() + PATIENCE

    def bounded(words: str) -> None:
        if time.monotonic() > until:
            raise NotTried(f"Loading it was not done within {PATIENCE / 60:.0f} minutes.")
        tell(words)

    return bounded


def _started(stack: _Stack, program: Program, head: Head, tell: Tell) -> Redis:
    server = stack.servers[0]
    try:
        stack.start(tell)
    except EmbeddedError as error:
        raise _explained(last_lines(server.log, 60), program, head, error) from error
    return Redis.from_url(stack.layout.redis_url(ROLE), socket_timeout=PATIENCE)


def _explained(log: str, program: Program, head: Head, error: EmbeddedError) -> BackupError:
    """Whose fault it is that the server did not come up, by its log."""
    said = [line.split("#", 1)[-1].split("*", 1)[-1].strip() for line in log.splitlines() if WHY.search(line)]
    words = "; ".join(dict.fromkeys(said))[:600]
    if NEWER.search(log) and head.version > 11:
        return NotTried(
            f"{program.named} cannot read it ({words}): it was written by {head.product} {head.server}, RDB "
            f"version {head.version}."
        )
    if MODULE.search(log):
        return NotTried(f"It holds data of a module that {program.named} does not have here: {words}.")
    if MEMORY.search(log) and "Short read" not in log:
        return NotTried(f"{program.named} had no memory for it: {words}.")
    if words:
        return CorruptCopy(f"{program.named} cannot load it: {words}.")
    return BackupError(f"The server that should load it did not start. {error}")
