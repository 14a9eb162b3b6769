"""Writes events: one statement for the fact and for what may be erased about it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from django.core.serializers.json import DjangoJSONEncoder
from django.db import connection

from arcweb.events.redaction import clean, redact

if TYPE_CHECKING:
    from uuid import UUID

    from arcweb.events.actors import Actor

LONGEST_LABEL = 300  # characters; a label is a name for people, not the content

INSERT = """
WITH event AS (
    INSERT INTO events.events (kind, actor_kind, actor_id, object_type, object_id, agent_id, data)
    VALUES (%s, %s, %s, %s, %s, %s::uuid, %s::jsonb)
    RETURNING occurred_at, id
)
INSERT INTO events.event_details (occurred_at, event_id, actor_name, address, user_agent, label, note)
SELECT occurred_at, id, %s, %s::inet, %s, %s, %s
FROM event
"""


def statement(
    kind: str,
    *,
    actor: Actor,
    object_type: str,
    object_id: str,
    agent_id: UUID | str | None,
    data: dict[str, Any],
    label: str,
    note: str,
) -> tuple[str, list[Any]]:
    """The INSERT of one event and its details, with its values, for a connection that is not Django's; see
    `arcweb.events.record` for what the arguments mean."""
    if not kind:
        raise ValueError("An event needs a kind, like 'agent.changed'.")
    facts = (kind, actor.kind, actor.id, object_type, object_id)
    words = (actor.user_agent, label[:LONGEST_LABEL], note)
    return INSERT, [
        *map(clean, facts),
        str(agent_id) if agent_id is not None else None,
        json.dumps(redact(data), cls=DjangoJSONEncoder),
        clean(actor.name),
        actor.address,
        *map(clean, words),
    ]


def write(kind: str, **values: Any) -> None:
    """Insert one event and its details; the arguments are those of `statement`."""
    with connection.cursor() as cursor:
        cursor.execute(*statement(kind, **values))
