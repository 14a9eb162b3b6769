"""A live database of each test's own on the throw-away server, with a copy of it in a folder of its own."""

from __future__ import annotations

import json
import resource
import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.contrib.auth.models import User
from django.db import connections, transaction
from psycopg import sql

from agents.models import Agent
from arcweb.backups import taking
from arcweb.backups.models import Backup
from arcweb.backups.restore import asking, databases, doing, telling
from arcweb.backups.restore.journal import Folder, Journal
from arcweb.backups.restore.running import folder
from arcweb.backups.restore.source import of_backup
from arcweb.events import record
from arcweb.events.actors import SYSTEM
from arcweb.jobs.models import Job
from memories.models import Document, DocumentSource, Memory

WHO = telling.said_of(SYSTEM)


@contextmanager
def led_to(name: str) -> Iterator[None]:
    """Inside, Django's default connection of this thread is one to that database."""
    own = connections["default"].settings_dict
    before = own["NAME"]
    connections["default"].close()
    own["NAME"] = name
    try:
        yield
    finally:
        connections["default"].close()
        own["NAME"] = before


def make(name: str, template: str) -> None:
    """A database like `template`, whose last sessions may still be ending."""
    statement = sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(
        sql.Identifier(name), sql.Identifier(template)
    )
    for left in range(50, 0, -1):
        try:
            with databases.connected(databases.MAINTENANCE) as outside:
                outside.execute(statement)
        except psycopg.errors.ObjectInUse:
            if left == 1:
                raise
            time.sleep(0.1)
        else:
            return


def drop(name: str) -> None:
    with databases.connected(databases.MAINTENANCE) as outside:
        if found := databases.named(outside, name):
            databases.drop(outside, found.name)


def fill() -> None:
    """Three agents, what they remember, a user of each kind, an event, a job under way."""
    for number in range(3):
        agent = Agent.objects.create(name=f"Agent {number}", type="assistant", config={"number": number})
        document = Document.objects.create(agent=agent, name="notes.txt", content_hash=bytes([number]) * 32)
        DocumentSource.objects.create(document=document, text=f"Text of {number}")
        Memory.objects.bulk_create(
            Memory(
                agent=agent,
                document=document,
                position=place,
                content=f"Memory {place} of {number}",
                embedding=[0.01 * (place + 1 + number)] * 1535 + [1.0],
                embedding_model="test",
                metadata={"person": f"p{place}", "large": "x" * 3000},
            )
            for place in range(5)
        )
        record("agent.added", obj=agent)
    for name in ("anna", "bert", "carl"):
        User.objects.create_user(name, password=f"the first of {name}")
    Job.objects.create(
        kind="ingest",
        target="something",
        state="running",
        claim=uuid.uuid4(),
        heartbeat_at="2026-01-01T00:00:00Z",
    )
    Job.objects.create(kind="ingest", target="something that waits")


@dataclass
class Filled:
    name: str
    backups: Path
    copies: dict[str, str]  #: format → id


@pytest.fixture(scope="session")
def filled(
    django_db_setup: None, django_db_blocker: Any, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Filled]:
    """A database with rows, and copies of it in both formats."""
    from django.conf import settings

    name = f"arc_filled_{uuid.uuid4().hex[:8]}"
    backups, before = tmp_path_factory.mktemp("copies"), settings.ARC_BACKUP_DIR
    with django_db_blocker.unblock():
        connections["default"].close()
        make(name, str(connections["default"].settings_dict["NAME"]))
        try:
            settings.ARC_BACKUP_DIR = backups
            with led_to(name):
                with transaction.atomic():
                    fill()
                copies = {one: str(taking.take(taking.Options(format=one)).pk) for one in ("custom", "plain")}
            settings.ARC_BACKUP_DIR = before
            yield Filled(name, backups, copies)
        finally:
            settings.ARC_BACKUP_DIR = before
            drop(name)


@dataclass
class World:
    """One live database, which Django's connection leads to, and its folder of copies."""

    live: str
    backups: Path
    copies: dict[str, str]

    def backup(self, format_: str = "custom") -> Backup:
        return Backup.objects.get(pk=self.copies[format_])

    def prepare(self, format_: str = "custom") -> Journal:
        source = of_backup(self.backup(format_))
        journal = asking.restore(source, WHO)
        doing.prepare(journal, source)
        return journal

    def restore(self, format_: str = "custom") -> Journal:
        journal = self.prepare(format_)
        asking.confirmed(journal, self.live, WHO)
        doing.finish(journal)
        return journal

    def undo(self, journal: Journal) -> Journal:
        undo = asking.undo(journal, WHO)
        doing.finish(undo)
        return undo

    def databases(self) -> set[str]:
        """Of this world: live, and what its restores have made."""
        journals = folder().all()
        numbers = [number for one in journals for number in (one.live_oid, one.new_oid)]
        names = [self.live, *(name for one in journals for name in (one.new, one.before))]
        with databases.connected(databases.MAINTENANCE) as outside:
            return {one.name for one in databases.find(outside, names=names, oids=numbers)}

    def oid(self) -> int:
        with databases.connected(databases.MAINTENANCE) as outside:
            found = databases.named(outside, self.live)
            assert found is not None
            assert found.open, "live takes no connections"
            return found.oid


@contextmanager
def new_world(filled: Filled, folder: Path) -> Iterator[World]:
    """A live database like `filled` and a folder with its copies; everything made from them is dropped."""
    name = f"arc_live_{uuid.uuid4().hex[:8]}"
    shutil.copytree(filled.backups, folder)
    make(name, filled.name)
    try:
        yield World(name, folder, filled.copies)
    finally:
        left = {name}
        for path in (folder / "journal").glob("*.json"):
            values = json.loads(path.read_text())
            left |= {values["new"], values["before"]}
        for one in left:
            drop(one)


@pytest.fixture
def world(filled: Filled, django_db_blocker: Any, settings: Any, tmp_path: Path) -> Iterator[World]:
    settings.ARC_BACKUP_DIR = tmp_path / "copies"
    with (
        django_db_blocker.unblock(),
        new_world(filled, settings.ARC_BACKUP_DIR) as found,
        led_to(found.live),
    ):
        yield found


@pytest.fixture
def journals(settings: Any, tmp_path: Path) -> Folder:
    """The journals of an ARC_BACKUP_DIR of the test's own, which are none yet."""
    settings.ARC_BACKUP_DIR = tmp_path
    return Folder(tmp_path)


@contextmanager
def superuser(database: str = "postgres") -> Iterator[psycopg.Connection[Any]]:
    """What the application's role may not do, somebody else has to."""
    from django.conf import settings

    layout = settings.ARC_LAYOUT
    with psycopg.connect(
        host=str(layout.socket_dir),
        dbname=database,
        user="postgres",
        password=layout.read_secret("postgres-superuser-password"),
        autocommit=True,
    ) as connection:
        yield connection


@contextmanager
def full_disk() -> Iterator[None]:
    """Inside, this process and its children can write no byte to any file, as on a disk without room."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
