"""Named queries on agents."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING
from uuid import UUID

from django.db import connections, models

from arcweb.postgres import replica

if TYPE_CHECKING:
    from agents.models import Agent  # noqa: F401 - the models import this module

# One probe of the index a type, however many agents there are (PostgreSQL has no such scan of its own).
TYPES = """
    WITH RECURSIVE types AS (
        (SELECT type FROM agents.agents ORDER BY type LIMIT 1)
        UNION ALL
        SELECT (SELECT type FROM agents.agents WHERE type > types.type ORDER BY type LIMIT 1)
        FROM types WHERE types.type IS NOT NULL
    )
    SELECT type FROM types WHERE type IS NOT NULL LIMIT %s
"""
# One probe of the index an agent and partition.
LAST_EVENTS = """
    SELECT id, (SELECT occurred_at FROM events.events AS e WHERE e.agent_id = a.id
                ORDER BY e.occurred_at DESC, e.id DESC LIMIT 1)
    FROM unnest(%s::uuid[]) AS a (id)
"""


class AgentQuerySet(models.QuerySet["Agent"]):
    def named(self, name: str) -> AgentQuerySet:
        """Agents of exactly that name; names are not unique, so there may be several."""
        return self.filter(name=name).order_by("created_at", "id")

    def begins(self, text: str) -> AgentQuerySet:
        """Agents whose name begins with that text, in any case, by name; an index serves it."""
        return self.filter(name__istartswith=text).order_by("name", "id")


def known_types(most: int) -> list[str]:
    """The types that agents have, in order, at most so many; cheap at any number of agents."""
    with connections[replica.alias()].cursor() as cursor:
        cursor.execute(TYPES, [most])
        return [name for (name,) in cursor.fetchall()]


def last_events(ids: Sequence[UUID]) -> dict[UUID, datetime]:
    """When each of these agents last did something or was changed, by its events; in one query."""
    with connections[replica.alias()].cursor() as cursor:
        cursor.execute(LAST_EVENTS, [list(ids)])
        return {agent: moment for agent, moment in cursor.fetchall() if moment is not None}
