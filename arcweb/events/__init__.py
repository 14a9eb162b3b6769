"""What happened: an append-only record of who did what, on which object, when.

`record()` writes one event inside the caller's transaction, so that an event stands if and only if
what it tells of does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from arcweb.events.actors import Actor, acting_as, current_actor

if TYPE_CHECKING:
    from uuid import UUID

    from django.db.models import Model

__all__ = ["Actor", "acting_as", "current_actor", "record"]


def record(
    kind: str,
    *,
    obj: Model | None = None,
    object_type: str = "",
    object_id: str = "",
    agent_id: UUID | str | None = None,
    data: dict[str, Any] | None = None,
    label: str = "",
    note: str = "",
    actor: Actor | None = None,
) -> None:
    """Write one event: `actor` (default: whoever acts now) did `kind` ("agent.changed") to an object.

    `obj` gives object_type ("agents.agent"), object_id, label and agent_id where they are not given.
    `data` holds ids and facts only, it can never be erased; values under keys that look like secrets
    are replaced. Whatever may have to be erased belongs to `label` (the object's name) and `note`.
    Raises ValueError for an empty kind; database errors pass through and undo the caller's transaction.
    """
    from arcweb.events import log  # models are not ready when this package is first imported

    if obj is not None:
        object_type = object_type or obj._meta.label_lower
        object_id = object_id or str(obj.pk)
        label = label or str(obj)
        if agent_id is None:
            agent_id = obj.pk if object_type == "agents.agent" else getattr(obj, "agent_id", None)
    log.write(
        kind,
        actor=actor or current_actor(),
        object_type=object_type,
        object_id=object_id,
        agent_id=agent_id,
        data=data or {},
        label=label,
        note=note,
    )
