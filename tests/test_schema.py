"""The catalog is what the models say: Django's own introspection does not see schema-qualified tables."""

from __future__ import annotations

from typing import Any

import pytest
from django.apps import apps
from django.db import connection, models

pytestmark = pytest.mark.django_db
SCHEMA_MODELS = [model for model in apps.get_models() if '"."' in model._meta.db_table]


def rows(statement: str, *params: Any) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement, params)
        return cursor.fetchall()


def table(model: type[models.Model]) -> str:
    return model._meta.db_table.replace('"', "")


def test_the_tables_of_the_seed_are_covered() -> None:
    assert {"agents.agents", "agents.memories", "agents.documents", "events.events"} <= {
        table(model) for model in SCHEMA_MODELS
    }


@pytest.mark.parametrize("model", SCHEMA_MODELS, ids=table)
def test_columns_types_and_nullability(model: type[models.Model]) -> None:
    catalog = {
        name: (kind, null)
        for name, kind, null in rows(
            "SELECT attname, format_type(atttypid, atttypmod), NOT attnotnull FROM pg_attribute "
            "WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped",
            table(model),
        )
    }
    types = {"varchar": "character varying", "timestamp with time zone": "timestamp with time zone"}
    expected = {}
    for field in model._meta.local_concrete_fields:
        output = field.output_field if isinstance(field, models.GeneratedField) else field
        kind = output.db_type(connection)
        assert kind is not None
        for short, full in types.items():
            kind = kind.replace(short, full)
        null = field.null or isinstance(field, models.GeneratedField)
        expected[field.column] = (kind, null)
    assert catalog == expected


@pytest.mark.parametrize("model", SCHEMA_MODELS, ids=table)
def test_indexes_and_constraints_by_name(model: type[models.Model]) -> None:
    catalog = {
        name
        for (name,) in rows(
            "SELECT relname FROM pg_index JOIN pg_class ON oid = indexrelid WHERE indrelid = %s::regclass",
            table(model),
        )
    }
    declared = {index.name for index in model._meta.indexes}
    declared |= {c.name for c in model._meta.constraints if isinstance(c, models.UniqueConstraint)}
    assert declared <= catalog


def test_every_column_that_the_seed_does_not_name_has_a_default() -> None:
    """Other services INSERT with the seed's columns only."""
    without = rows(
        "SELECT attrelid::regclass::text || '.' || attname FROM pg_attribute "
        "WHERE attrelid IN ('agents.agents'::regclass, 'agents.memories'::regclass) "
        "AND attnum > 0 AND NOT attisdropped AND attnotnull AND NOT atthasdef"
    )
    assert {name for (name,) in without} == {"agents.agents.name", "agents.agents.type"}


def test_the_vector_index_is_hnsw_and_right_on_an_empty_table() -> None:
    [(definition,)] = rows("SELECT pg_get_indexdef('agents.idx_memories_embedding'::regclass)")
    assert "USING hnsw (embedding vector_cosine_ops)" in definition


def test_vectors_are_stored_in_the_row() -> None:
    [(storage, options)] = rows(
        "SELECT attstorage, reloptions FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid "
        "WHERE attrelid = 'agents.memories'::regclass AND attname = 'embedding'"
    )
    assert storage == "m"
    assert options == ["toast_tuple_target=8160"]
