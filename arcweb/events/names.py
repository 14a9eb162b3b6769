"""From the beginning of a name to those who bear it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple
from uuid import UUID

from django.db import connections

#: Names that a beginning stands for; more are none.
MOST_NAMES = 10
#: Events of a name that are asked whose name it is.
ASKED = 10

# Walks the index from one name to the next, as many steps as names, however many events bear them.
BEARERS = """
    WITH RECURSIVE names AS (
        (SELECT upper({column}) AS name FROM events.event_details
         WHERE upper({column}) LIKE upper(%(prefix)s) ORDER BY upper({column}) USING ~<~ LIMIT 1)
        UNION ALL
        SELECT (SELECT upper({column}) FROM events.event_details
                WHERE upper({column}) LIKE upper(%(prefix)s) AND upper({column}) ~>~ names.name
                ORDER BY upper({column}) USING ~<~ LIMIT 1)
        FROM names WHERE names.name IS NOT NULL
    ), few AS (
        SELECT name FROM names WHERE name IS NOT NULL LIMIT %(most)s
    )
    SELECT DISTINCT {kind}, {id}, CASE WHEN {id} = '' THEN few.name ELSE '' END
    FROM few
    CROSS JOIN LATERAL (
        SELECT occurred_at, event_id FROM events.event_details
        WHERE upper({column}) = few.name LIMIT %(asked)s
    ) AS detail
    JOIN events.events AS event ON event.occurred_at = detail.occurred_at AND event.id = detail.event_id
    ORDER BY 1, 2, 3 LIMIT %(most)s
"""
STATEMENTS = {
    "actor_name": BEARERS.format(column="actor_name", kind="actor_kind", id="actor_id"),
    "label": BEARERS.format(column="label", kind="object_type", id="object_id"),
}

#: (text, at most so many) → the agents whose id or name that is, or begins so.
Find = Callable[[str, int], Sequence[UUID]]
_agents: list[Find] = []


class Bearer(NamedTuple):
    """Who or what bears a name. `id` may be empty: then `name`, in capitals, is all that is known."""

    kind: str  #: of an actor, or the type of an object
    id: str
    name: str


def bearers(column: Literal["actor_name", "label"], text: str, *, using: str = "default") -> list[Bearer]:
    """Those whose name begins with `text`, in any case; the first MOST_NAMES, in one query."""
    # In capitals by PostgreSQL, as in the index: Python's are others ("ß" becomes "SS").
    prefix = text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") + "%"
    with connections[using].cursor() as cursor:
        cursor.execute(STATEMENTS[column], {"prefix": prefix, "most": MOST_NAMES, "asked": ASKED})
        return [Bearer(*row) for row in cursor.fetchall()]


def register_agents(find: Find) -> None:
    """The app that knows the agents says how one is found."""
    _agents[:] = [find]


def agents(text: str) -> list[UUID]:
    """The agents of that id, or whose name begins so; the first MOST_NAMES."""
    try:
        return [UUID(text)]  # of an agent that is deleted, too
    except ValueError:
        return [agent for find in _agents for agent in find(text, MOST_NAMES)]
