"""Debian's PostgreSQL and PgBouncer, where they are installed: an older server, with SSL, without vectors."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg

from arcweb.embedded.server_user import server_user

PATIENCE = 120.0
PGBOUNCER = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin:/usr/local/sbin")
#: Read by the seed's role: what `init.sql` gives, but for the extension `vector`, which Debian 12 lacks.
ROLES = """
CREATE ROLE arc LOGIN CREATEDB PASSWORD '{password}';
GRANT pg_monitor, pg_signal_backend TO arc;
CREATE ROLE unprivileged LOGIN PASSWORD '{password}';
CREATE DATABASE arc OWNER arc
"""
SCHEMAS = """
CREATE EXTENSION pg_stat_statements;
CREATE SCHEMA agents AUTHORIZATION arc;
CREATE SCHEMA events AUTHORIZATION arc;
GRANT EXECUTE ON FUNCTION pg_reload_conf() TO arc
"""


def programs(major: int = 15) -> Path | None:
    """The folder of that version's programs, as Debian installs them."""
    folder = Path(f"/usr/lib/postgresql/{major}/bin")
    return folder if (folder / "initdb").exists() else None


def run(folder: Path, command: Sequence[str | Path]) -> None:
    user = server_user("", folder)
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=False, **user.popen_options()
    )
    assert done.returncode == 0, f"{command[0]}: {done.stdout}{done.stderr}"


@dataclass
class Debian:
    """A cluster on a TCP port of its own; every connection over TCP needs a password, and may have SSL."""

    folder: Path
    port: int
    password: str = "only-for-this-test"
    children: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start(self, bin_folder: Path) -> None:
        """initdb, a certificate of its own, the server, and the role of the seed."""
        user = server_user("", self.folder)
        self.folder.chmod(0o711)
        home = self.folder / "postgres"
        home.mkdir(mode=0o700)
        user.take(home)
        secret = home / "password"
        secret.write_text(self.password)
        user.take(secret)
        data = home / "data"
        run(
            home,
            [
                *(bin_folder / "initdb", "-D", data, "-U", "postgres", "--pwfile", secret, "--no-sync"),
                *("--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C.UTF-8"),
            ],
        )
        self._certify(home, data)
        (data / "postgresql.auto.conf").write_text(
            f"listen_addresses = '127.0.0.1'\nport = {self.port}\nunix_socket_directories = '{home}'\n"
            "shared_preload_libraries = 'pg_stat_statements'\nssl = on\nfsync = off\n"
            "password_encryption = 'scram-sha-256'\nshared_buffers = '32MB'\nmax_connections = 40\n"
        )
        self._spawn([bin_folder / "postgres", "-D", data], home)
        self._wait()
        for database, script in (("postgres", ROLES), ("arc", SCHEMAS)):
            with self.superuser(database) as connection:
                for statement in script.format(password=self.password).split(";\n"):
                    connection.execute(statement)

    def pool(self, port: int) -> None:
        """PgBouncer in transaction mode with two connections, on that port."""
        assert PGBOUNCER is not None
        home = self.folder / "pgbouncer"
        home.mkdir(mode=0o700)
        (home / "users.txt").write_text(f'"arc" "{self.password}"\n')
        (home / "pgbouncer.ini").write_text(
            "[databases]\n"
            f"arc = host=127.0.0.1 port={self.port} dbname=arc connect_query='SET statement_timeout = 9000'\n"
            "[pgbouncer]\n"
            f"listen_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n"
            f"auth_type = scram-sha-256\nauth_file = {home}/users.txt\n"
            "pool_mode = transaction\ndefault_pool_size = 2\nmax_client_conn = 100\n"
            f"logfile = {home}/log\nserver_tls_sslmode = require\n"
        )
        user = server_user("", self.folder)
        for path in (home, *home.iterdir()):
            user.take(path)
        self._spawn([Path(PGBOUNCER), home / "pgbouncer.ini"], home)
        self._wait(port)

    def superuser(self, database: str = "postgres") -> psycopg.Connection[Any]:
        return psycopg.connect(self.conninfo("postgres", database), autocommit=True)

    def conninfo(self, user: str = "arc", database: str = "arc", port: int = 0) -> str:
        where = f"host=127.0.0.1 port={port or self.port} dbname={database} user={user}"
        return f"{where} password={self.password} connect_timeout=30"

    def stop(self) -> None:
        for child in reversed(self.children):
            child.terminate()
            try:
                child.wait(10)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()

    def _certify(self, home: Path, data: Path) -> None:
        command = ["openssl", "req", "-new", "-x509", "-days", "2", "-nodes", "-subj", "/CN=127.0.0.1"]
        files: list[str | Path] = ["-out", data / "server.crt", "-keyout", data / "server.key"]
        run(home, [*command, "-newkey", "rsa:2048", *files])
        (data / "server.key").chmod(0o600)

    def _spawn(self, command: Sequence[str | Path], home: Path) -> None:
        log = (home / "log.txt").open("ab")
        options = server_user("", self.folder).popen_options()
        env = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"}
        self.children.append(subprocess.Popen(command, cwd=home, env=env, stdout=log, stderr=log, **options))

    def _wait(self, port: int = 0) -> None:
        end = time.monotonic() + PATIENCE
        user, database = ("arc", "arc") if port else ("postgres", "postgres")
        while True:
            try:
                psycopg.connect(self.conninfo(user, database, port)).close()
            except psycopg.OperationalError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.2)
            else:
                return
