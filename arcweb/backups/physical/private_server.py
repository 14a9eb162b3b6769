"""A PostgreSQL on a cluster out of a copy, that nobody else reaches.

It runs as the servers' account, on a socket in a private folder, with settings of ours on its command line
alone, which win over whatever the copy brought along: no archive, no network, no library, and nobody but that
account and root gets to the socket.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psycopg
from django.conf import settings

from arcweb.backups.exceptions import BackupError
from arcweb.backups.physical.programs import Programs
from arcweb.embedded.layout import TEMPORARY
from arcweb.embedded.processes import last_lines, spawn

Check = Callable[[], None]
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
#: The first servers that run event triggers at each login.
LOGIN_TRIGGERS_SINCE = 170000
#: What a server that is not ready logs of each connection.
ASKED = re.compile(r"FATAL:  the database system is (?:starting|shutting|not )|Hot standby mode is disabled")
BOOTSTRAP = "SELECT rolname FROM pg_roles WHERE oid = 10"


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
