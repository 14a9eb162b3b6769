"""Memories and documents that must stay erased whatever backup is restored."""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from arcweb.backups.erasures import register_eraser


def erase_by_metadata(connection: psycopg.Connection[Any], what: dict[str, Any]) -> int:
    """Documents and memories whose metadata contain that object; a document takes its memories along."""
    wanted = Jsonb(what["metadata"])
    statements = (
        "DELETE FROM agents.documents WHERE metadata @> %s",
        "DELETE FROM agents.memories WHERE metadata @> %s",
    )
    return sum(connection.execute(statement, [wanted]).rowcount for statement in statements)


register_eraser("metadata", "documents and memories with that metadata", erase_by_metadata)
