"""What is near to one memory: others by its own vector, and how near a typed query is to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.conf import settings

from memories.models import EXTERNAL_MODEL, Memory
from memories.pg import vector_cursor
from memories.providers import Provider, ProviderError
from memories.search import Filters, Hit, by_vector, searched_models

VECTOR = "SELECT embedding, embedding_model FROM agents.memories WHERE id = %s AND embedding IS NOT NULL"
SIMILARITY = "SELECT 1 - (embedding <=> %s) FROM agents.memories WHERE id = %s AND embedding_model = ANY (%s)"


@dataclass(frozen=True)
class Neighbours:
    """The nearest memories, most similar first; `how` tells in words how they were found."""

    hits: list[Hit]
    how: str
    milliseconds: float


def neighbours(memory_id: UUID, *, agent_id: UUID | None, k: int) -> Neighbours | None:
    """The k memories nearest to that one, among vectors of its model: of one agent, or of all (None).

    None when the memory has no vector. Raises OperationalError when the search takes too long.
    """
    with vector_cursor() as cursor:
        row: Any = cursor.execute(VECTOR, [memory_id]).fetchone()
    if row is None:
        return None
    vector, model = row
    # One more: it is nearest to itself. A twin of the same vector may stand in its place.
    result = by_vector(vector, _comparable(model), Filters(agent_id), k + 1)
    hits = [hit for hit in result.hits if hit.id != memory_id][:k]
    return Neighbours(hits, result.how, result.milliseconds)


def _comparable(model: str) -> list[str]:
    """The names under which vectors of that model are stored."""
    if settings.ARC_EXTERNAL_MODEL and model in (EXTERNAL_MODEL, settings.ARC_EXTERNAL_MODEL):
        return [settings.ARC_EXTERNAL_MODEL, EXTERNAL_MODEL]
    return [model]


@dataclass(frozen=True)
class Similarity:
    """How near a query is to a memory: a number (1 - cosine distance), or a sentence why there is none."""

    number: float | None
    sentence: str = ""


def similarity(memory: Memory, query: str, provider: Provider) -> Similarity:
    """Embeds the query, within ARC_QUERY_DEADLINE, and compares it with the memory's vector."""
    if memory.embedding_state not in ("embedded", "stale"):
        return Similarity(None, "This memory has no vector that a query could be compared with.")
    models = searched_models(provider)
    if memory.embedding_model not in models:
        return Similarity(
            None,
            f"The vector of this memory is of the model {memory.embedding_model}, and queries are embedded "
            f"by {provider.model}: vectors of two models cannot be compared.",
        )
    try:
        vector = provider.embed_query(query, deadline=settings.ARC_QUERY_DEADLINE)
    except ProviderError as error:
        return Similarity(None, f"The query could not be embedded: {error}")
    with vector_cursor() as cursor:
        row: Any = cursor.execute(SIMILARITY, [vector, memory.pk, models]).fetchone()
    if row is None or row[0] is None:
        return Similarity(None, "The vector of this memory has just changed; try again.")
    return Similarity(float(row[0]))
