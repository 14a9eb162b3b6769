"""One agent out of a copy whose tables are of an older version: such a copy is not migrated as a whole."""

from __future__ import annotations

import pytest
from django.db import connection

from agents.models import Agent
from arcweb.backups import taking
from arcweb.backups.exceptions import BackupError
from arcweb.backups.restore import parts
from arcweb.backups.restore.source import Source, of_backup
from memories.models import Document, Memory
from tests.backups.restore.conftest import World

pytestmark = pytest.mark.django_db(transaction=True)


def run(*statements: str) -> None:
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


def values(statement: str) -> list[object]:
    with connection.cursor() as cursor:
        cursor.execute(statement)
        return [value for (value,) in cursor.fetchall()]


def copy_of(agent: Agent) -> Source:
    return of_backup(taking.take(taking.Options(scope={"agent": str(agent.pk)})))


def test_columns_that_came_since_have_their_defaults(world: World) -> None:
    agent = Agent.objects.get(name="Agent 1")
    source = copy_of(agent)
    run(
        "ALTER TABLE agents.memories ADD COLUMN weight int NOT NULL DEFAULT 7",
        "ALTER TABLE agents.documents ADD COLUMN origin text",
    )
    before = set(Memory.objects.filter(agent=agent).values_list("pk", "content", "embedding_state"))
    Agent.objects.filter(pk=agent.pk).delete()
    run("UPDATE agents.memories SET weight = 1")

    as_it_was = parts.restore_agent(source, str(agent.pk))
    assert set(Memory.objects.filter(agent=agent).values_list("pk", "content", "embedding_state")) == before
    assert "Left out" not in as_it_was["sentence"]
    under = parts.restore_agent(source, "Agent 1", name="Agent 1 of then")
    copy = Agent.objects.get(pk=under["agent"])
    assert Document.objects.filter(agent=copy).count() == 1
    weights = f"SELECT DISTINCT weight FROM agents.memories WHERE agent_id IN ('{agent.pk}', '{copy.pk}')"
    assert values(weights) == [7]


def test_columns_that_live_has_no_more_are_left_out_and_named(world: World) -> None:
    agent = Agent.objects.get(name="Agent 1")
    run("ALTER TABLE agents.memories ADD COLUMN weight int NOT NULL DEFAULT 7")
    source = copy_of(agent)
    run("ALTER TABLE agents.memories DROP COLUMN weight")
    found = parts.restore_agent(source, "Agent 1", name="Agent 1 of then")
    assert found["rows"]["memories"] == 5
    assert found["sentence"].endswith(" Left out, for live does not have them: memories.weight.")


def test_what_live_demands_and_the_copy_lacks_is_named(world: World) -> None:
    """As a migration that adds a field with a default of Django's own leaves it."""
    agent = Agent.objects.get(name="Agent 1")
    source = copy_of(agent)
    run(
        "ALTER TABLE agents.memories ADD COLUMN weight int NOT NULL DEFAULT 7",
        "ALTER TABLE agents.memories ALTER COLUMN weight DROP DEFAULT",
    )
    with pytest.raises(BackupError, match=r"Live's agents\.memories demands weight, .*Nothing was changed"):
        parts.restore_agent(source, "Agent 1", name="Agent 1 of then")
    assert Agent.objects.count() == 3
    assert parts.restore_table(source, "agents.memories")["rows"] == 5
