"""What the verdict of the overview hears of safety."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from django.urls import reverse

from arcweb.database.findings import Finding, Look, register_look, worst_first
from arcweb.database.safety.doors import doors
from arcweb.database.safety.encryption import encryption
from arcweb.database.safety.grants import grants
from arcweb.database.safety.roles import roles
from arcweb.database.safety.switches import switches
from arcweb.database.safety.versions import versions

URL_NAME = "admin:database_safety"
#: Part of the page → what asks it.
PARTS: dict[str, Callable[[], Sequence[Finding]]] = {
    "Connections": lambda: encryption().findings,
    "Roles": lambda: roles().findings,
    "Doors": doors,
    "Grants": grants,
    "Versions": lambda: versions().findings,
    "Settings": lambda: switches().findings,
}


def find() -> list[Finding]:
    """The worst of it. What this role may not see is told on the page alone: it would hide what else is
    unknown."""
    found = worst_first(
        [finding for ask in PARTS.values() for finding in ask() if finding.state in ("bad", "warn")]
    )
    if not found:
        return []
    first, more = found[0], len(found) - 1
    words = f" {more} more on the page." if more else ""
    return [replace(first, sentence=first.sentence + words, url=reverse(URL_NAME), action="Show them")]


register_look(Look("safety", "Roles and safety", find, URL_NAME, order=80, permission="database.view_safety"))
