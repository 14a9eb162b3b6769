"""A real streaming replica of the throw-away PostgreSQL, and a web process that reads from it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest
from django.conf import settings as django_settings
from django.db import connections, router

from arcweb import servers
from arcweb.embedded.files import make_folder
from arcweb.embedded.processes import spawn
from arcweb.embedded.stack import Stack
from arcweb.libpq import conninfo
from arcweb.postgres import lag, replica
from arcweb.postgres.base import DatabaseWrapper
from arcweb.postgres.lag import Looker
from tests.stack import THROWAWAY
from tests.waiting import until

NUMBER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw99").removeprefix("gw"))
PORT = 5500 + NUMBER
NAME = f"standby_{NUMBER}"


class Standby:
    """Made by pg_basebackup, with a slot of its own."""

    def __init__(self) -> None:
        self.layout = django_settings.ARC_LAYOUT
        self.stack = Stack(self.layout, THROWAWAY)
        self.folder: Path = self.layout.real_servers_dir / NAME
        self.child: subprocess.Popen[bytes] | None = None

    @property
    def password(self) -> str:
        return self.layout.read_secret("postgres-superuser-password")

    def make(self) -> None:
        """Others work in the same server, and may be what a copy of its files meets: then another is made."""
        said = [self.copied()]
        while said[-1] and len(said) < 3:
            self.remove()
            said.append(self.copied())
        assert not said[-1], said

    def copied(self) -> str:
        """What pg_basebackup said when it failed; "" when it did not."""
        user = self.stack.user
        make_folder(self.folder, mode=0o700, owner=user)
        where = f"host={self.layout.socket_dir} port=5432 user=arc_replication application_name={NAME}"
        done = subprocess.run(
            [
                self.stack.postgres.binaries.postgres / "pg_basebackup",
                *("-D", self.folder, "-d", where, "-R", "-X", "stream", "-C", "-S", NAME),
                *("--checkpoint=fast", "--no-sync"),
            ],
            env={
                "PATH": "/usr/bin:/bin",
                "LC_ALL": "C",
                "PGPASSWORD": self.layout.read_secret("replication-password"),
            },
            check=False,
            capture_output=True,
            text=True,
            cwd=self.folder,
            **user.popen_options(),
        )
        return "" if done.returncode == 0 else done.stderr or f"exit {done.returncode}"

    def remove(self) -> None:
        """Its files, and its slot when nobody reads that any more."""
        shutil.rmtree(self.folder)
        where = conninfo(connections.settings["default"] | {"USER": "postgres", "PASSWORD": self.password})
        with psycopg.connect(where, autocommit=True) as raw:
            # The primary hears of an end later.
            reads = "SELECT FROM pg_replication_slots WHERE slot_name = %s AND active"
            until(lambda: raw.execute(reads, [NAME]).fetchone() is None)
            raw.execute(
                "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = %s",
                [NAME],
            )

    def start(self) -> None:
        self.child = spawn(
            [
                *(self.stack.postgres.binaries.postgres / "postgres", "-D", self.folder),
                *("-c", f"port={PORT}", "-c", "archive_mode=off", "-c", "summarize_wal=off"),
            ],
            log=self.layout.log_dir / f"{NAME}.log",
            cwd=self.folder,
            env={"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"},
            user=self.stack.user,
            dies_with_parent=signal.SIGINT,
        )
        until(self.answers, 120)

    def answers(self) -> bool:
        try:
            self.ask("SELECT 1")
        except psycopg.OperationalError:
            return False
        return True

    def ask(self, sql: str) -> Any:
        """As superuser."""
        where = {"host": str(self.layout.socket_dir), "port": PORT, "dbname": "postgres", "user": "postgres"}
        with psycopg.connect(**where, password=self.password, autocommit=True) as raw:
            return raw.execute(sql).fetchone()

    def stop(self) -> None:
        assert self.child is not None
        self.child.send_signal(signal.SIGINT)
        self.child.wait(120)

    def processes(self) -> list[psutil.Process]:
        assert self.child is not None
        postmaster = psutil.Process(self.child.pid)
        return [postmaster, *postmaster.children()]

    def pause(self) -> None:
        self.ask("SELECT pg_wal_replay_pause()")
        until(lambda: self.ask("SELECT pg_get_wal_replay_pause_state()") == ("paused",))

    def resume(self) -> None:
        self.ask("SELECT pg_wal_replay_resume()")


@pytest.fixture(scope="package")
def made(django_db_setup: None, django_db_blocker: Any) -> Iterator[Standby]:
    standby = Standby()
    with django_db_blocker.unblock():
        standby.make()
    standby.start()
    yield standby
    standby.stop()
    with django_db_blocker.unblock():
        standby.remove()


@pytest.fixture
def standby(made: Standby) -> Iterator[Standby]:
    """Running and replaying, before and after."""
    yield made
    if made.child is None or made.child.poll() is not None:
        made.start()
    made.resume()


@pytest.fixture
def reads(
    standby: Standby, transactional_db: None, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Standby]:
    """This process is a web process that has POSTGRES_REPLICA_HOST, and the replica serves."""
    own = deepcopy(connections.settings["default"]) | {"PORT": str(PORT)}
    monkeypatch.setitem(connections.settings, replica.REPLICA, own)
    monkeypatch.setitem(router.__dict__, "routers", [replica.Router()])
    # Django's tests refuse every connection that settings did not name when they began.
    monkeypatch.setattr(DatabaseWrapper, "ensure_connection", ensure_connection)
    settings.POSTGRES_REPLICA_HOST = own["HOST"]
    # What all tests write goes through this replica, and looks at it come late on a busy machine.
    settings.ARC_REPLICA_MAX_LAG_SECONDS = 3600
    monkeypatch.setattr(lag, "MOST_BEHIND", 1 << 50)
    monkeypatch.setattr(replica, "BELIEVED", 60)
    settings.MIDDLEWARE = [
        "arcweb.postgres.own_writes.OwnWritesMiddleware",
        *settings.MIDDLEWARE,
    ]
    servers.board.watch(lambda name: None)
    looker = Looker()
    looker.start()
    try:
        until(lambda: replica.state().fresh)
        yield standby
    finally:
        looker.stop()
        servers.board.watch(None)
        if replica.REPLICA in connections.settings:
            connections[replica.REPLICA].close()
            del connections[replica.REPLICA]


def ensure_connection(self: DatabaseWrapper) -> None:
    """As Django's own."""
    if self.connection is None:
        with self.wrap_database_errors:
            self.connect()


@pytest.fixture(autouse=True)
def pages_have_time(unhurried: None) -> None:
    """A busy machine is not the point here."""
