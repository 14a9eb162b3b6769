"""The SQL of a search, built from its filters; parameters are named and never written in."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from psycopg import sql

COUNTED = """
SELECT count(*) AS n FROM (
    SELECT 1 FROM {}
    LIMIT %(cap)s
) AS capped
"""
#: The distance is computed once a row, and made a similarity for k of them only.
NEAREST = """
SELECT id, 1 - distance AS score FROM (
    SELECT m.id, {distance} AS distance FROM {where}
    ORDER BY distance LIMIT %(k)s
) AS nearest
"""
MATCHING = """
SELECT id, rank, count(*) OVER () AS matches FROM (
    SELECT m.id, ts_rank_cd(m.content_tsv, {words}) AS rank FROM {where}
    AND m.content_tsv @@ {words}
    LIMIT %(most)s
) AS matching
ORDER BY rank DESC, id LIMIT %(k)s
"""
#: + 0 keeps the planner off the index: exact stays exact.
EXACT = "(m.embedding <=> %(q)s) + 0"
#: A keyword search wants all of the words. A hybrid one takes any of them, or a question would find nothing,
#: unless a word is to be left out (!).
ALL_WORDS = "websearch_to_tsquery('english', %(query)s)"
ANY_WORD = f"""CASE WHEN strpos({ALL_WORDS}::text, '!') > 0 THEN {ALL_WORDS}
    ELSE replace({ALL_WORDS}::text, ' & ', ' | ')::tsquery END"""
COLUMNS = """m.id, m.content, m.metadata, m.agent_id, m.document_id, m.position, m.created_at,
    m.embedding_state AS state, a.name AS agent_name, d.name AS document_name"""
#: chr(1) and chr(2) are highlight.START and STOP.
MARKED = """ts_headline('english', translate(left(m.content, %(most)s), chr(1) || chr(2), ''),
    websearch_to_tsquery('english', %(words)s),
    'HighlightAll=true, StartSel=' || chr(1) || ', StopSel=' || chr(2)) AS marked"""
SIMILARITY = """CASE WHEN m.embedding_model = ANY (%(models)s)
    THEN 1 - (m.embedding <=> %(q)s) END AS similarity"""
ROWS = """
SELECT {}
FROM agents.memories AS m
LEFT JOIN agents.agents AS a ON a.id = m.agent_id
LEFT JOIN agents.documents AS d ON d.id = m.document_id
WHERE m.id = ANY (%(ids)s)
"""


@dataclass(frozen=True)
class Filters:
    """What results are taken from: one agent or all, agents of one type, metadata that contains this."""

    agent_id: UUID | None = None
    agent_type: str = ""
    metadata: dict[str, Any] = field(default_factory=dict)


def candidates(filters: Filters, models: Iterable[str] | None) -> sql.Composed:
    """The part between FROM and ORDER BY: rows with vectors of these models, or of any content (None)."""
    conditions = []
    if models is not None:
        conditions += ["m.embedding IS NOT NULL", "m.embedding_model = ANY (%(models)s)"]
    if filters.agent_id:
        conditions.append("m.agent_id = %(agent_id)s")
    if filters.agent_type:
        conditions.append("m.agent_id IN (SELECT id FROM agents.agents WHERE type = %(agent_type)s)")
    if filters.metadata:
        conditions.append("m.metadata @> %(metadata)s::jsonb")
    joined = sql.SQL("\n    AND ").join(sql.SQL(condition) for condition in conditions or ["true"])
    return sql.SQL("agents.memories AS m\n    WHERE {}").format(joined)


def params_of(filters: Filters) -> dict[str, Any]:
    """The parameters that `candidates` names."""
    return {
        "agent_id": filters.agent_id,
        "agent_type": filters.agent_type,
        "metadata": json.dumps(filters.metadata),
    }
