"""A restore from the beginning to the end, and what it leaves."""

from __future__ import annotations

from typing import Any

import pytest

from agents.models import Agent
from arcweb.backups import content, server
from arcweb.backups.models import Backup
from arcweb.backups.restore import kept
from arcweb.backups.restore.journal import FINISHED
from arcweb.backups.restore.running import folder
from arcweb.events.models import Event
from tests.backups.restore.conftest import World

pytestmark = pytest.mark.django_db(transaction=True)


def tables(name: str, schema: str) -> dict[str, Any]:
    with server.connect(name) as one:
        return {table.name: (table.rows, table.sha256) for table in content.look(one, schema=schema).tables}


@pytest.mark.parametrize("format_", ["custom", "plain"])
def test_everything_returns_and_an_undo_takes_it_back(world: World, format_: str) -> None:
    before = tables(world.live, "agents")
    first = world.oid()
    lost = Agent.objects.get(name="Agent 1").pk
    Agent.objects.filter(pk=lost).delete()
    changed = tables(world.live, "agents")

    journal = world.restore(format_)

    assert journal.state == FINISHED
    assert tables(world.live, "agents") == before
    assert Agent.objects.filter(pk=lost).exists()
    assert world.oid() == journal.new_oid != first
    assert Event.objects.filter(kind="restore.swapped", object_id=journal.id).count() == 1
    assert Backup.objects.filter(pk=journal.safety, trigger="safety").exists()

    undone = world.undo(journal)
    assert undone.state == FINISHED
    assert world.oid() == first
    assert tables(world.live, "agents") == changed
    assert Event.objects.filter(kind="restore.undone").count() == 1
    assert Event.objects.filter(kind="restore.swapped").count() == 1, "what was recorded meanwhile is kept"

    assert world.databases() == {world.live, undone.before}
    assert kept.drop_expired() == []
    for one in folder().all():
        one.keep_until = "2026-01-01T00:00:00+00:00"
        folder().write(one)
    assert kept.drop_expired() == [undone.before]
    assert world.databases() == {world.live}
    assert world.oid() == first
    assert Event.objects.filter(kind="restore.dropped").count() == 1
    assert kept.drop_expired() == []
