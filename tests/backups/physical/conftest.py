"""One throw-away PostgreSQL that archives its log, below a path with everything that needs quoting."""

from __future__ import annotations

import os
import shutil
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.conf import settings as django_settings
from django.db import connections, transaction

from arcweb.backups import seals, server, taking
from arcweb.backups.manifest import Manifest
from arcweb.backups.models import Backup
from arcweb.backups.physical import base, live, timeline
from arcweb.embedded.layout import Layout
from arcweb.embedded.stack import Stack
from tests.stack import THROWAWAY, new_layout
from tests.waiting import until

NASTY = 'it\'s a "50%p" $HOME;x'


@pytest.fixture(scope="package")
def archiving() -> Iterator[Stack]:
    outer, lock = new_layout()
    layout = Layout(outer.data_dir / NASTY)
    stack = Stack(layout, replace(THROWAWAY, roles=(), archive=True))
    stack.start()
    yield stack
    stack.destroy()
    shutil.rmtree(outer.data_dir, ignore_errors=True)
    lock.close()


def superuser(stack: Stack, dbname: str = "arc") -> psycopg.Connection[Any]:
    return psycopg.connect(
        host=str(stack.layout.socket_dir),
        dbname=dbname,
        user="postgres",
        password=stack.layout.read_secret("postgres-superuser-password"),
        autocommit=True,
    )


def switch(stack: Stack) -> str:
    """Ends the running WAL file and waits until it is archived; its name."""
    with superuser(stack) as connection:
        row = connection.execute(
            "SELECT pg_walfile_name(pg_current_wal_lsn()) FROM pg_current_xact_id()"
        ).fetchone()
        assert row is not None
        connection.execute("SELECT pg_switch_wal()")
        until(lambda: (stack.layout.real_servers_dir / "wal-archive" / f"{row[0]}.gz").exists())
    return str(row[0])


@dataclass
class Story:
    """A cluster's life: whole backup, rows, incremental backup, rows, rows that somebody will regret."""

    folder: Path
    whole: Manifest
    incremental: Manifest
    #: Server times: between the backups, and after the incremental one, before what is regretted.
    between: datetime
    good: datetime


@pytest.fixture(scope="package")
def story(
    archiving: Stack,
    tmp_path_factory: pytest.TempPathFactory,
    django_db_setup: None,
    django_db_blocker: Any,
) -> Iterator[Story]:
    folder = tmp_path_factory.mktemp("copies")
    with pytest.MonkeyPatch.context() as patch, superuser(archiving) as connection:
        point_to(archiving, patch, folder)
        connection.execute("CREATE TABLE notes (id int PRIMARY KEY, words text NOT NULL)")
        connection.execute("INSERT INTO notes SELECT n, repeat('first ', 20) FROM generate_series(1, 500) n")
        with django_db_blocker.unblock(), transaction.atomic():
            whole = take("base", folder)
            connection.execute("INSERT INTO notes VALUES (501, 'between the backups')")
            between = now_of(connection)
            connection.execute("INSERT INTO notes VALUES (502, 'before the incremental one')")
            know(whole)
            incremental = take("incremental", folder)
            connection.execute("INSERT INTO notes VALUES (503, 'good')")
            good = now_of(connection)
            connection.execute("DELETE FROM notes WHERE id <= 500")
            transaction.set_rollback(True)
        switch(archiving)
        yield Story(folder, whole, incremental, between, good)


def take(format_: str, folder: Path, context: taking.Context | None = None) -> Manifest:
    options = taking.Options(format=format_)
    work = taking.Work(uuid.uuid4(), options, context or taking.Quiet(), folder)
    manifest = seals.sealed(base.take(work))
    manifest.write(folder)
    return manifest


def know(manifest: Manifest, state: str = "hashed") -> Backup:
    """The catalogue's row of a copy that lies in the folder."""
    return Backup.objects.create(
        pk=manifest.id,
        source="postgres",
        format=manifest.format,
        state=state,
        verified_at=manifest.taken_at if state == "verified" else None,
        local=True,
        parent_id=manifest.parent or None,
        **Backup.objects.fields(manifest, "0" * 64),
    )


def now_of(connection: psycopg.Connection[Any]) -> datetime:
    """The server's time, after everything that was committed."""
    time.sleep(0.02)
    row = connection.execute("SELECT clock_timestamp()").fetchone()
    assert row is not None
    time.sleep(0.02)
    found: datetime = row[0]
    return found


def point_to(stack: Stack, patch: pytest.MonkeyPatch, folder: Path) -> None:
    """Backups are taken of that server; their catalogue is in the run's own database."""
    layout = stack.layout
    address = connections["default"].settings_dict | {
        "NAME": "arc",
        "USER": "arc",
        "PASSWORD": layout.read_secret("postgres-password"),
        "HOST": str(layout.socket_dir),
        "PORT": "5432",
    }
    patch.setattr(server, "database", lambda: dict(address))
    patch.setattr(live, "stack_from_settings", lambda: stack)
    patch.setattr(timeline, "now_live", lambda: ("", 0))
    for name, value in {
        "ARC_LAYOUT": layout,
        "ARC_DATA_DIR": layout.data_dir,
        "ARC_BACKUP_DIR": folder,
        "ARC_REPLICATION_PASSWORD": layout.read_secret("replication-password"),
    }.items():
        patch.setattr(django_settings, name, value)


@pytest.fixture
def here(story: Story, archiving: Stack, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, db: None) -> Stack:
    """The story's copies, in a folder of the test's own, and known to its catalogue."""
    folder = tmp_path / "copies"
    folder.mkdir(mode=0o700)
    for path in story.folder.iterdir():
        if path.is_file():
            os.link(path, folder / path.name)
    point_to(archiving, monkeypatch, folder)
    know(story.whole, "verified")
    know(story.incremental)
    return archiving
