"""The database keeps content, hash, vector and state in step, whoever writes."""

import hashlib
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction
from pytest_django import DjangoAssertNumQueries

from agents.models import Agent
from memories.models import Memory

pytestmark = pytest.mark.django_db


def sql(statement: str, *params: Any) -> Any:
    with connection.cursor() as cursor:
        cursor.execute(statement, params)
        return cursor.fetchone() if cursor.description else None


def vector(number: float) -> str:
    return "[" + ",".join([str(number)] * 1535 + ["1"]) + "]"


def state() -> tuple[Any, ...]:
    return sql("SELECT embedding_state, embedding_model, embedded_at IS NOT NULL FROM agents.memories")


def test_a_plain_insert_waits_for_its_vector() -> None:
    sql("INSERT INTO agents.memories (content) VALUES ('Grüße \\x')")
    assert state() == ("pending", "", False)
    digest = sql("SELECT content_hash FROM agents.memories")[0]
    assert bytes(digest) == hashlib.sha256("Grüße \\x".encode()).digest()


@pytest.mark.parametrize("content", [None, "", " \t\r\n"])
def test_a_memory_without_content_has_nothing_to_embed(content: str | None) -> None:
    sql("INSERT INTO agents.memories (content) VALUES (%s)", content)
    assert state() == ("empty", "", False)


def test_a_vector_of_another_service_is_recorded_as_external() -> None:
    sql("INSERT INTO agents.memories (content, embedding) VALUES ('a', %s)", vector(0.5))
    assert state() == ("embedded", "external", True)


def test_a_service_may_name_its_model() -> None:
    sql(
        "INSERT INTO agents.memories (content, embedding, embedding_model) VALUES ('a', %s, 'm')", vector(0.5)
    )
    assert state() == ("embedded", "m", True)


def test_a_changed_content_makes_the_vector_stale_and_removing_it_empties() -> None:
    sql(
        "INSERT INTO agents.memories (content, embedding, embedding_model) VALUES ('a', %s, 'm')", vector(0.5)
    )
    sql("UPDATE agents.memories SET content = 'b'")
    assert state() == ("stale", "m", True)
    sql("UPDATE agents.memories SET content = NULL")
    assert state() == ("empty", "", False)
    assert sql("SELECT embedding FROM agents.memories")[0] is None


def test_a_foreign_vector_over_ours_is_external() -> None:
    sql(
        "INSERT INTO agents.memories (content, embedding, embedding_model) VALUES ('a', %s, 'm')", vector(0.5)
    )
    sql("UPDATE agents.memories SET embedding = %s", vector(0.25))
    assert state() == ("embedded", "external", True)


def test_content_and_vector_in_one_statement_belong_together() -> None:
    sql("INSERT INTO agents.memories (content) VALUES ('a')")
    sql("UPDATE agents.memories SET content = 'b', embedding = %s", vector(0.25))
    assert state() == ("embedded", "external", True)


def test_taking_the_vector_away_asks_for_a_new_one() -> None:
    sql("INSERT INTO agents.memories (content, embedding) VALUES ('a', %s)", vector(0.5))
    sql("UPDATE agents.memories SET embedding = NULL")
    assert state() == ("pending", "", False)


def test_new_content_clears_a_failure_and_its_backoff() -> None:
    sql("INSERT INTO agents.memories (content) VALUES ('a')")
    sql(
        "UPDATE agents.memories SET embedding_state = 'failed', embedding_error = 'too long', "
        "embedding_attempts = 3, embedding_due_at = now()"
    )
    sql("UPDATE agents.memories SET metadata = '{}'")
    assert state()[0] == "failed"
    sql("UPDATE agents.memories SET content = 'b'")
    memory = Memory.objects.without_vectors().get()
    assert (memory.embedding_state, memory.embedding_error, memory.embedding_attempts) == ("pending", "", 0)
    assert memory.embedding_due_at is None


def test_a_content_of_megabytes_can_be_inserted() -> None:
    sql(
        "INSERT INTO agents.memories (content) "
        "SELECT string_agg(md5(i::text), ' ') FROM generate_series(1, 90000) i"
    )
    assert sql("SELECT length(content) FROM agents.memories")[0] > 2_900_000


def test_an_unknown_state_is_refused() -> None:
    sql("INSERT INTO agents.memories (content) VALUES ('a')")
    with pytest.raises(IntegrityError, match="memories_embedding_state"), transaction.atomic():
        sql("UPDATE agents.memories SET embedding_state = 'done'")


def test_updated_at_of_an_agent_moves_whoever_writes() -> None:
    agent = Agent.objects.create(name="a", type="b")
    sql("ALTER TABLE agents.agents DISABLE TRIGGER agents_touch_updated_at")
    sql("UPDATE agents.agents SET updated_at = updated_at - interval '1 day'")
    sql("ALTER TABLE agents.agents ENABLE TRIGGER agents_touch_updated_at")
    sql("UPDATE agents.agents SET type = 'voice' WHERE id = %s", agent.pk)
    assert sql("SELECT updated_at > now() - interval '1 minute' FROM agents.agents")[0] is True


def test_deleting_an_agent_takes_its_memories_and_no_others(
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    mine = Agent.objects.create(name="mine", type="t")
    other = Agent.objects.create(name="other", type="t")
    sql(
        "INSERT INTO agents.memories (agent_id, content) "
        "SELECT CASE WHEN i %% 100 = 0 THEN %s::uuid ELSE %s::uuid END, 'memory ' || i "
        "FROM generate_series(1, 20000) i",
        other.pk,
        mine.pk,
    )
    with django_assert_num_queries(1):  # the database takes the memories; none is collected here
        mine.delete()
    assert Memory.objects.count() == 200
    assert set(Memory.objects.values_list("agent_id", flat=True)) == {other.pk}
