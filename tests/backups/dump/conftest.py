"""A small database of agents to back up, a folder for the copies, and copies restored as anybody would."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.db import connection

from agents.models import Agent
from arcweb.backups import content, scratch, server
from arcweb.backups.content import Content
from arcweb.backups.models import Backup
from arcweb.embedded import binaries
from arcweb.events import record
from memories.models import Document, DocumentSource, Memory

BIN = binaries.installed().postgres


@pytest.fixture
def folder(tmp_path: Path, settings: Any) -> Path:
    settings.ARC_BACKUP_DIR = tmp_path / "backups"
    return tmp_path / "backups"


@pytest.fixture
def agents(transactional_db: None) -> list[Agent]:
    """Two agents with documents and memories; texts that dumps have to quote; a memory of nobody."""
    made = [Agent.objects.create(name=name, type="t", config={"k": "ü\\\n\t'"}) for name in ("one", "two")]
    for agent in made:
        document = Document.objects.create(agent=agent, name=f"of {agent.name}", content_hash=agent.id.bytes)
        DocumentSource.objects.create(document=document, text="\\.\nCOMMENT ON EXTENSION vector IS NULL;\n")
        for number in range(12):
            Memory.objects.create(
                agent=agent,
                document=document,
                position=number,
                content=f"memory {number}\t\\N\\.\n\\. of {agent.name}",
                metadata={"big": "x" * 5000, "n": 1e30} if number == 3 else None,
                embedding=[0.1 * number + 1e-7 * i for i in range(1536)] if number % 3 else None,
            )
        # No agent of its own: that of its document.
        Memory.objects.create(document=document, content="of the document alone")
    Memory.objects.create(content=None)
    record("t.dump", object_id="x", data={"text": "a\\b"}, note="note")
    return made


@contextmanager
def new_database() -> Iterator[str]:
    """From the template, owned by the application's role; dropped at the end."""
    with scratch.database("test of dumps") as name:  # held, so that no other process sweeps it
        yield name


def environment() -> dict[str, str]:
    where = server.database()
    return {
        "PATH": f"{BIN}:{os.environ['PATH']}",
        "LC_ALL": "C",
        "PGHOST": where["HOST"],
        "PGPORT": where["PORT"],
        "PGPASSWORD": where["PASSWORD"],
        "PGSSLMODE": "disable",
    }


@pytest.fixture
def restored(folder: Path) -> Iterator[Callable[[Backup], str]]:
    """Restores a copy by the commands of its own manifest, in a shell; returns the new database's name."""
    with ExitStack() as exits:

        def restore(backup: Backup) -> str:
            name = exits.enter_context(new_database())
            commands = [line for line in backup.manifest["restore"] if not line.startswith(("#", "createdb"))]  # type: ignore[index]
            assert len(commands) == 1
            line = commands[0].replace("restored", name)
            assert name in line
            done = subprocess.run(
                ["bash", "-o", "pipefail", "-c", line],
                cwd=folder,
                env=environment(),
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 0, done.stderr
            return name

        yield restore


def contents(database: str = "", **options: Any) -> Content:
    with server.connect(database or django_settings.DATABASES["default"]["NAME"]) as session:
        return content.look(session, **options)


def rows(database: str, query: str) -> list[tuple[Any, ...]]:
    with server.connect(database) as session:
        return session.execute(query).fetchall()  # type: ignore[arg-type]


def databases() -> set[str]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT datname FROM pg_database")
        return {name for (name,) in cursor.fetchall()}


def dumping() -> list[tuple[Any, ...]]:
    """Sessions of pg_dump, of the hashing, and of whoever has the turn to take a backup."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pid, application_name FROM pg_stat_activity WHERE datname = current_database() AND "
            "application_name IN ('arcweb-backup', 'pg_dump', 'arcweb-backup: snapshot', 'arcweb: backup')"
        )
        return list(cursor.fetchall())
