"""PostgreSQL on the embedded stack: the cluster, its configuration, roles and databases. No Django."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
from pathlib import Path
from typing import ClassVar

import psycopg

from arcweb.embedded import swap, wal
from arcweb.embedded.errors import EmbeddedError
from arcweb.embedded.files import (
    append_owned,
    check_folder,
    make_folder,
    read_owned,
    remove_owned,
    write_private,
)
from arcweb.embedded.memory import memory_settings, usable_memory
from arcweb.embedded.server import Server, Tell

PORT = 5432
SUPERUSER = "postgres"
INIT_SQL = Path(__file__).with_name("init.sql")
CONFIGURATION = "arc.conf"

#: The same in compose, where they stand on the command line.
SETTINGS = {
    # Sockets only, in a folder that nobody else can enter.
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "max_connections": "100",
    "shared_preload_libraries": "pg_stat_statements",
    # Physical backups: switching these later would need a restart.
    "wal_level": "replica",
    "archive_mode": "on",
    "archive_command": wal.ARCHIVE_COMMAND,
    "archive_timeout": wal.ARCHIVE_TIMEOUT,
    "summarize_wal": "on",
    # A page that forgot its transaction must not hold back vacuum for a day.
    "idle_in_transaction_session_timeout": "5min",
    "jit": "off",  # compiles longer than these queries run
    "random_page_cost": "1.1",
    "track_io_timing": "on",
    "log_line_prefix": "%m [%p] %q%u@%d %a ",
    "log_lock_waits": "on",
    "log_min_duration_statement": "1s",
    "log_parameter_max_length": "0",  # values hold what people wrote, and vectors of 1,536 numbers
    "log_autovacuum_min_duration": "10s",
    "log_temp_files": "10MB",
    "log_timezone": "UTC",
    "timezone": "UTC",
}
THROWAWAY_SETTINGS = {
    "fsync": "off",
    "full_page_writes": "off",
    "shared_buffers": "64MB",
    "maintenance_work_mem": "64MB",
}
NO_ARCHIVE = {"archive_command": "/bin/true", "archive_timeout": "0"}


class Postgres(Server):
    program = "postgres"
    title: ClassVar[str] = "PostgreSQL"
    stop_signal: ClassVar[signal.Signals] = signal.SIGINT  # fast shutdown: sessions end, data is written
    hard_stop_signal: ClassVar[signal.Signals] = signal.SIGQUIT

    @property
    def name(self) -> str:
        return "postgres"

    @property
    def folder(self) -> Path:
        return self.layout.real_servers_dir / self.layout.postgres_dir.name

    @property
    def pid_file(self) -> Path:
        return self.folder / "postmaster.pid"

    @property
    def socket(self) -> Path:
        return self.layout.socket_dir / f".s.PGSQL.{PORT}"

    def argv(self) -> list[str | Path]:
        return [self.binaries.postgres / "postgres", "-D", self.folder]

    def prepare(self, tell: Tell) -> None:
        if swapped := swap.finish(self.layout, self.user):
            tell(f"{swapped.new} is the PostgreSQL cluster now; the one of before is kept as {swapped.old}")
        if os.path.lexists(self.folder):
            check_folder(self.folder, self.user)
        if not (self.folder / "PG_VERSION").exists():
            tell("Creating the PostgreSQL cluster")
            self._create_cluster()
        self._check_version()
        if self.options.archives:
            wal.prepare(self.folder.parent, self.user)
        write_private(self.folder / CONFIGURATION, self.configuration(), owner=self.user)

    def configuration(self) -> str:
        """arc.conf. ALTER SYSTEM, and lines put below its include, still win."""
        settings = {
            **SETTINGS,
            "unix_socket_directories": str(self.layout.socket_dir),
            **memory_settings(usable_memory()),
            **(THROWAWAY_SETTINGS if self.options.throwaway else {}),
            **({} if self.options.archives else NO_ARCHIVE),
        }
        lines = ["# Written at every start. Your own settings: ALTER SYSTEM, or below the include."]
        lines += [f"{name} = '{value.replace(chr(39), chr(39) * 2)}'" for name, value in settings.items()]
        return "\n".join(lines) + "\n"

    def state(self) -> str:
        conninfo = f"host={self.layout.socket_dir} port={PORT} dbname=postgres connect_timeout=2"
        answer = psycopg.pq.PGconn.ping(conninfo.encode())
        if answer == psycopg.pq.Ping.OK:
            return "ready"
        return "starting" if answer == psycopg.pq.Ping.REJECT else "silent"

    def remove_stale(self) -> None:
        # PostgreSQL itself only asks whether a process of that number lives, not whose it is.
        sockets = self.layout.real_socket_dir
        for path in (self.pid_file, sockets / self.socket.name, sockets / f"{self.socket.name}.lock"):
            remove_owned(path, self.user)

    def initialise(self, tell: Tell) -> None:
        """Runs init.sql when it, or a password, changed since it last ran to its end."""
        values = {
            "ARC_DB_USER": self.options.database_user,
            "ARC_DB_NAME": self.options.database,
            "ARC_DB_TEMPLATE": self.options.template_database,
            "ARC_DB_PASSWORD": self.layout.read_secret("postgres-password"),
            "ARC_REPLICATION_PASSWORD": self.layout.read_secret("replication-password"),
        }
        marker = self.folder.parent / "initialised"
        wanted = hashlib.sha256("\0".join([INIT_SQL.read_text(), *values.values()]).encode()).hexdigest()
        if read_owned(marker, self.user).strip() == wanted:
            return
        tell("Creating roles and databases")
        done = subprocess.run(
            [self.binaries.postgres / "psql", "-X", "-q", "-f", INIT_SQL],
            env={
                "PATH": os.environ.get("PATH", "/usr/bin:/bin"),
                "PGHOST": str(self.layout.socket_dir),
                "PGPORT": str(PORT),
                "PGUSER": SUPERUSER,
                "PGDATABASE": "postgres",
                "PGPASSWORD": self.layout.read_secret("postgres-superuser-password"),
                **values,
            },
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise EmbeddedError(
                f"{INIT_SQL.name} failed:\n{done.stderr.strip()}\nThe server's log is {self.log}."
            )
        write_private(marker, wanted + "\n", owner=self.user)

    def _create_cluster(self) -> None:
        """initdb beside its final place, moved there when complete: an interrupted one leaves nothing."""
        parent = self.folder.parent
        unfinished, password = parent / "postgres.new", parent / "postgres.password"
        shutil.rmtree(unfinished, ignore_errors=True)
        make_folder(unfinished, mode=0o700, owner=self.user)
        write_private(
            password, self.layout.read_secret("postgres-superuser-password") + "\n", owner=self.user
        )
        command: list[str | Path] = [
            self.binaries.postgres / "initdb",
            *("--pgdata", unfinished, "--username", SUPERUSER, "--pwfile", password),
            *("--auth", "scram-sha-256", "--data-checksums", "--encoding", "UTF8", "--locale", "C"),
            *("--locale-provider", "builtin", "--builtin-locale", "C.UTF-8", "--no-instructions"),
            *(["--no-sync"] if self.options.throwaway else []),
        ]
        try:
            done = subprocess.run(
                command,
                cwd=parent,
                env={"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"},
                capture_output=True,
                text=True,
                check=False,
                umask=0o077,
                **self.user.popen_options(),
            )
        finally:
            password.unlink(missing_ok=True)
        if done.returncode != 0:
            raise EmbeddedError(
                f"initdb could not create {self.folder}:\n{(done.stderr or done.stdout).strip()}"
            )
        append_owned(unfinished / "postgresql.conf", f"\ninclude_if_exists = '{CONFIGURATION}'\n", self.user)
        unfinished.rename(self.folder)

    def _check_version(self) -> None:
        data = read_owned(self.folder / "PG_VERSION", self.user).strip()
        answer = subprocess.run(
            [self.binaries.postgres / "postgres", "--version"], capture_output=True, text=True, check=True
        )
        program = answer.stdout.split()[-1].partition(".")[0]
        if data != program:
            raise EmbeddedError(
                f"The data in {self.folder} is of PostgreSQL {data}, the installed server is {program}. "
                "Check out the version of this project that made the data, dump it there, and restore the "
                "dump into new data."
            )
