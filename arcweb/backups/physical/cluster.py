"""A cluster out of base backups, and a PostgreSQL on it that nobody else reaches.

It runs as the servers' account, on a socket in a private folder, with settings of ours on its command line
alone, which win over whatever the copy brought along: no archive, no network, no library, and nobody but that
account and root gets to the socket.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import psycopg
from django.conf import settings

from arcweb.backups import tools
from arcweb.backups.exceptions import BackupError, SpaceError, ToolError
from arcweb.backups.physical import tar
from arcweb.backups.physical.judging import judged
from arcweb.backups.processes import run
from arcweb.backups.streams import RESERVE, free_bytes
from arcweb.embedded import binaries
from arcweb.embedded.binaries import SHARED_DIR
from arcweb.embedded.errors import EmbeddedError
from arcweb.embedded.files import opened_folder
from arcweb.embedded.layout import TEMPORARY
from arcweb.embedded.processes import last_lines, spawn
from arcweb.embedded.server_user import ServerUser, server_user

Check = Callable[[], None]
#: How scratch folders are called; one that was left by a killed process is a day old at most.
SCRATCH = "base-"
#: Seconds after which one that nobody holds goes with the next.
LEFT = 24 * 3600.0
#: Of every cluster that is only looked at. What a copy says of these is not believed.
SETTINGS = {
    "listen_addresses": "",
    "port": "5432",
    "unix_socket_permissions": "0700",
    "archive_mode": "off",
    "archive_command": "",
    "archive_library": "",
    "archive_cleanup_command": "",
    "recovery_end_command": "",
    "restore_command": "",
    "primary_conninfo": "",
    "primary_slot_name": "",
    "shared_preload_libraries": "",
    "session_preload_libraries": "",
    "local_preload_libraries": "",
    "ssl": "off",
    "external_pid_file": "",
    "logging_collector": "off",
    "log_destination": "stderr",
    "log_line_prefix": "",
    "log_timezone": "UTC",
    # It starts with fewer connections than the server of the copy had.
    "hot_standby": "off",
    "max_connections": "20",
    "max_wal_senders": "0",
    "summarize_wal": "off",
    "autovacuum": "off",
    "shared_buffers": "64MB",
    "huge_pages": "off",
    "jit": "off",
    "max_prepared_transactions": "100",
}
#: Nobody needs it after a crash.
UNSAFE = {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "off"}
#: The first pg_combinebackup that shares files instead of copying them, and the first servers that run
#: event triggers at each login.
LINKS_SINCE, LOGIN_TRIGGERS_SINCE = 180000, 170000
#: What a server that is not ready logs of each connection.
ASKED = re.compile(r"FATAL:  the database system is (?:starting|shutting|not )|Hot standby mode is disabled")
BOOTSTRAP = "SELECT rolname FROM pg_roles WHERE oid = 10"


def account() -> ServerUser:
    """Whom servers run as here. Raises BackupError when that is nobody: PostgreSQL does not run as root."""
    try:
        return server_user(settings.ARC_SERVER_USER, settings.ARC_LAYOUT.servers_dir)
    except EmbeddedError as error:
        raise BackupError(str(error)) from error


@dataclass(frozen=True)
class Programs:
    """PostgreSQL's programs of one major version, which that account can run."""

    version: int  #: server_version_num
    user: ServerUser

    def find(self, name: str) -> Path:
        """Raises ToolError."""
        return tools.find(name, self.version, self._folders()).path

    def run(self, name: str, *arguments: str | Path, cwd: Path) -> bytes:
        """As the account, to its good end; what it printed. Raises ToolError."""
        return run(
            [self.find(name), *arguments], {"TZ": "UTC"}, cwd=cwd, umask=0o077, **self.user.popen_options()
        )

    def _folders(self) -> list[Path]:
        if settings.ARC_POSTGRES_TOOLS:
            return [Path(settings.ARC_POSTGRES_TOOLS)]
        try:
            found = binaries.for_other_account() if self.user.switches else binaries.installed()
        except EmbeddedError:
            return []
        return [found.postgres]


@contextmanager
def scratch(room: int, *, beside: Path | None = None) -> Iterator[Path]:
    """A new empty folder of this user's alone, which the servers' account can be let into; gone afterwards.

    room: bytes that must fit. beside: a folder on whose disk it has to be. Raises SpaceError, OSError.
    """
    parent = beside or _scratch_parent()
    _sweep(parent)
    if free_bytes(parent) < room + RESERVE:
        raise SpaceError(
            f"{parent} has {free_bytes(parent) // 1024**2:,} MB free, and unpacking the copy takes about "
            f"{room // 1024**2:,} MB and leaves {RESERVE // 1024**2:,} MB. Make room, then start again."
        )
    folder = Path(tempfile.mkdtemp(prefix=SCRATCH, dir=parent))
    try:
        folder.chmod(0o711)  # passable: inside, each cluster is closed to all but its own account
        held = os.open(folder, os.O_RDONLY)
        try:
            fcntl.flock(held, fcntl.LOCK_EX)
            yield folder
        finally:
            os.close(held)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _sweep(parent: Path) -> None:
    for path in parent.glob(f"{SCRATCH}*"):
        with suppress(OSError):
            held = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_DIRECTORY)
            try:
                if time.time() - os.fstat(held).st_ctime > LEFT:
                    fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    shutil.rmtree(path, ignore_errors=True)
            finally:
                os.close(held)


def _scratch_parent() -> Path:
    if os.getuid() == 0:
        SHARED_DIR.mkdir(mode=0o755, parents=True, exist_ok=True)
        return SHARED_DIR
    place = Path(settings.ARC_BACKUP_DIR) / "spool"
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    return place


def unpack(
    copy: AbstractContextManager[IO[bytes]], room: int, target: Path, user: ServerUser, check: Check
) -> None:
    """The tar of a copy as the cluster `target`, which must not exist yet. room: bytes that it may have.

    Raises CorruptCopy, KeyMissing, BackupError, OSError.
    """
    target.mkdir(mode=0o700)
    me = ServerUser("this user", os.getuid(), os.getgid())
    with opened_folder(target.resolve(), me) as inside, copy as source:
        tar.unpack(source, inside, room=room, check=check)
        if user.switches:
            tar.give(inside, user.uid, user.gid)


def verify(programs: Programs, target: Path) -> str:
    """pg_verifybackup: every file's size and checksum, and the log. Raises CorruptCopy, NotTried."""
    try:
        # "." since it hands the path of the log to a shell, where a dollar or a quote in it would count.
        return programs.run("pg_verifybackup", "--exit-on-error", ".", cwd=target).decode().strip()
    except ToolError as error:
        raise judged(error, f"pg_verifybackup found the base backup damaged: {error}") from error


def combine(programs: Programs, parts: Sequence[Path], target: Path) -> None:
    """One cluster out of a chain, the whole copy first. The parts' files are shared: they are spent.

    Raises CorruptCopy with the words of pg_combinebackup, NotTried.
    """
    target.mkdir(mode=0o700)
    programs.user.take(target)
    options = ["--no-sync", "--manifest-checksums=SHA256"]
    if programs.version >= LINKS_SINCE:
        options.append("--link")
    try:
        programs.run("pg_combinebackup", *options, *parts, "-o", target, cwd=parts[0])
    except ToolError as error:
        raise judged(error, f"The copies of the chain do not fit together: {error}") from error


class Running:
    """A PostgreSQL under way on its own socket."""

    def __init__(self, process: subprocess.Popen[bytes], sockets: Path, log: Path) -> None:
        self.process, self.sockets, self.log = process, sockets, log
        self._superuser = ""

    def connect(self, database: str = "postgres", *, user: str = "") -> psycopg.Connection[Any]:
        """As the cluster's first superuser, whom nobody asks for a password on this socket."""
        return psycopg.connect(
            host=str(self.sockets),
            port=5432,
            dbname=database,
            user=user or self.superuser(),
            autocommit=True,
            connect_timeout=10,
        )

    def superuser(self) -> str:
        if not self._superuser:
            with self.connect(user=settings.POSTGRES_USER) as connection:
                row = connection.execute(BOOTSTRAP).fetchone()
            self._superuser = row[0] if row else "postgres"
        return self._superuser

    def wait(self, check: Check, tell: Callable[[str], None] = lambda words: None) -> None:
        """Until it answers queries, however long its recovery takes. Raises NoStart with its log's end."""
        where = f"host={self.sockets} port=5432 connect_timeout=2"
        while psycopg.pq.PGconn.ping(where.encode()) != psycopg.pq.Ping.OK:
            if (code := self.process.poll()) is not None:
                raise NoStart(
                    f"PostgreSQL did not start on the copy (code {code}). Its last words:\n"
                    f"{_last_words(self.log)}"
                )
            check()
            tell(last_lines(self.log, 1).strip())
            time.sleep(0.05)

    def stop(self) -> None:
        """All it holds is on the disk then, and it is ready to be moved. Raises BackupError."""
        self.process.send_signal(signal.SIGINT)
        try:
            code = self.process.wait(120)
        except subprocess.TimeoutExpired as error:
            raise BackupError("PostgreSQL on the copy did not stop within 120 s.") from error
        if code != 0:
            raise BackupError(f"PostgreSQL on the copy stopped badly (code {code}).")


def _last_words(log: Path) -> str:
    """The end of its log without what it answered to our own asking, which may stand behind the reason."""
    lines = [line for line in last_lines(log, 200).splitlines() if not ASKED.search(line)]
    return "\n".join(lines[-6:])


class NoStart(BackupError):  # noqa: N818 - reads as a sentence
    """The server ended instead of answering."""


@contextmanager
def running(
    programs: Programs, data: Path, options: Mapping[str, str] | None = None, *, keep: bool = False
) -> Iterator[Running]:
    """Starts PostgreSQL on that cluster; it is killed when the block is left. It does not answer yet.

    options: settings beside ours. keep: what it writes must outlast a crash of the machine.
    """
    program = programs.find("postgres")
    folder = Path(tempfile.mkdtemp(prefix="arcweb-base-", dir=TEMPORARY))
    try:
        # The log stays in a folder of this user's: in its own, the account could make a link of that name.
        folder.chmod(0o711)
        sockets, log = folder / "s", folder / "log"
        sockets.mkdir(mode=0o700)
        rules, empty = sockets / "hba.conf", sockets / "empty.conf"
        rules.write_text("local all all trust\n")
        empty.write_text("")
        for path in (rules, empty):
            path.chmod(0o600)
            programs.user.take(path)
        programs.user.take(sockets)
        given = {
            **SETTINGS,
            **({} if keep else UNSAFE),
            **({"event_triggers": "off"} if programs.version >= LOGIN_TRIGGERS_SINCE else {}),
            "config_file": str(empty),
            "hba_file": str(rules),
            "ident_file": str(empty),
            "unix_socket_directories": str(sockets),
            **(options or {}),
        }
        argv: list[str | Path] = [program, "-D", data]
        for name, value in given.items():
            argv += ["-c", f"{name}={value}"]
        process = spawn(
            argv,
            log=log,
            cwd=data,
            env={"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"},
            user=programs.user,
            dies_with_parent=signal.SIGQUIT,
        )
        try:
            yield Running(process, sockets, log)
        finally:
            if process.poll() is None:
                with suppress(ProcessLookupError):
                    process.send_signal(signal.SIGQUIT)
                try:
                    process.wait(10)
                except subprocess.TimeoutExpired:
                    with suppress(ProcessLookupError):
                        os.killpg(process.pid, signal.SIGKILL)
                    process.wait()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
