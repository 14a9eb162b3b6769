"""Memories and documents for the command palette."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib.postgres.search import SearchQuery
from django.db.models import Q
from django.urls import reverse

from arcweb import keyset
from arcweb.registry import Found
from memories.models import Document, Memory


def find_memories(user: Any, text: str, most: int) -> list[Found]:
    """The memory of that id, else those with these words, newest first; of common words the newest only."""
    order = keyset.Order(Memory, "created_at")
    try:
        keys = [UUID(text)]
    except ValueError:
        words = SearchQuery(text, config="english", search_type="websearch")
        page, _ = keyset.search(order, Memory.objects.all(), Q(content_tsv=words), most)
        keys = [key.pk for key in page.keys]
    rows: dict[UUID, Any] = {
        row.pk: row for row in Memory.objects.filter(pk__in=keys).listed().select_related("agent")
    }
    return [
        Found(
            " ".join((rows[key].start or "(no content)").split())[:90],
            reverse("admin:memories_memory_change", args=[key]),
            rows[key].agent.name if rows[key].agent else "no agent",
        )
        for key in keys
        if key in rows
    ]


def find_documents(user: Any, text: str, most: int) -> list[Found]:
    """The document of that id, else those whose name begins with the text, in any case."""
    documents = Document.objects.select_related("agent").only("name", "agent__name")
    try:
        found = documents.filter(pk=UUID(text))
    except ValueError:
        found = documents.filter(name__istartswith=text).order_by("name", "id")
    return [
        Found(
            document.name, reverse("admin:memories_document_change", args=[document.pk]), document.agent.name
        )
        for document in found[:most]
    ]
