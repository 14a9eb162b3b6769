"""The statements of other services, as they send them: the seed's columns only, the application role."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction

pytestmark = pytest.mark.django_db


def sql(statement: str, *params: Any) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement, params or None)
        return cursor.fetchall() if cursor.description else []


def test_a_service_registers_an_agent_and_stores_memories() -> None:
    [(agent, created, updated)] = sql(
        "INSERT INTO agents.agents (name, type, config) VALUES ('a', 'assistant', '{\"model\": \"any\"}') "
        "RETURNING id, created_at, updated_at"
    )
    assert created is not None
    assert updated is not None
    sql("INSERT INTO agents.agents (name, type) VALUES ('b', 'assistant')")
    query = "[" + ",".join(str((n * 7919 % 101) / 101 - 0.5) for n in range(1536)) + "]"
    sql(
        "INSERT INTO agents.memories (agent_id, content, embedding) "
        "VALUES (%s, 'Some text content', %s::vector)",
        agent,
        query,
    )
    sql("INSERT INTO agents.memories (agent_id, content) VALUES (%s, 'not embedded')", agent)
    sql(
        "INSERT INTO agents.memories (agent_id, content, metadata) VALUES (%s, 'm', '{\"tags\": [1]}')", agent
    )
    found = sql(
        "SELECT content, 1 - (embedding <=> %s) AS similarity FROM agents.memories WHERE agent_id = %s "
        "ORDER BY embedding <=> %s LIMIT 10",
        query,
        agent,
        query,
    )
    assert found[0][0] == "Some text content"
    assert found[0][1] == pytest.approx(1)
    assert len(found) == 3


def test_a_memory_of_no_agent_is_taken_and_one_of_an_unknown_agent_refused() -> None:
    sql("INSERT INTO agents.memories (content) VALUES ('of nobody')")
    sql("SET CONSTRAINTS ALL IMMEDIATE")
    nobody = "00000000-0000-0000-0000-000000000001"
    with pytest.raises(IntegrityError, match="foreign key"), transaction.atomic():
        sql("INSERT INTO agents.memories (agent_id, content) VALUES (%s, 'orphan')", nobody)


def test_the_monitoring_queries_are_allowed_to_the_application_role() -> None:
    assert sql("SELECT rolsuper FROM pg_roles WHERE rolname = current_user") == [(False,)]
    assert sql("SELECT count(*) FROM pg_stat_activity")[0][0] >= 1
    assert sql("SELECT pg_size_pretty(pg_database_size(current_database()))")[0][0].endswith("B")
    sql(
        "SELECT sum(heap_blks_hit) / nullif(sum(heap_blks_hit) + sum(heap_blks_read), 0) "
        "FROM pg_statio_user_tables"
    )
    active = sql("SELECT pid, now() - query_start, query FROM pg_stat_activity WHERE state = 'active'")
    assert any("pg_stat_activity" in query for _, _, query in active)
