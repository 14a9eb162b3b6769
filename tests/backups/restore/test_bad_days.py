"""manage.py backup where the database has no tables, or the disk no room: a sentence, JSON, an exit code."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest
from django.db import connection

from agents.models import Agent
from tests.backups.restore.conftest import World, drop, full_disk, led_to, make
from tests.backups.restore.test_commands import backup

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def empty(world: World) -> Iterator[str]:
    """A database without a table, to which Django's connection leads, and the copies of the world."""
    name = f"arc_empty_{uuid.uuid4().hex[:8]}"
    make(name, "template1")
    try:
        with led_to(name):
            yield name
    finally:
        drop(name)


@pytest.mark.parametrize("command", ["scan", "prune"])
def test_a_database_without_tables_is_a_sentence(empty: str, command: str) -> None:
    code, said = backup(command)
    assert (code, said["ok"]) == (1, False)
    assert "has not the tables of this version (relation" in said["error"]
    assert "run manage.py migrate" in said["error"]


def test_what_postgresql_refuses_is_a_sentence(world: World) -> None:
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE backups_backup ADD CHECK (file = '')  NOT VALID")
        cursor.execute("DELETE FROM backups_backup")
    code, said = backup("scan")
    assert (code, said["ok"]) == (1, False)
    assert said["error"].startswith("PostgreSQL refused: new row for relation")


def test_a_disk_without_room_is_a_sentence(world: World) -> None:
    with full_disk():
        code, said = backup("restore", world.copies["custom"], "--agent", "Agent 1", "--as", "a copy")
    assert (code, said["ok"]) == (1, False)
    assert said["error"].startswith("The system refused: [Errno 27] File too large")
    assert not Agent.objects.filter(name="a copy").exists()


def test_what_postgresql_refuses_is_no_verdict_on_a_copy(world: World) -> None:
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE backups_backup ADD CHECK (state <> 'verified') NOT VALID")
    code, said = backup("verify", world.copies["custom"])
    assert (code, said["ok"], said["verdict"]) == (3, False, "not tried")
    assert said["trouble"].startswith("PostgreSQL refused: new row for relation")
