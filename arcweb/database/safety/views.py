"""The page Roles and safety."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from arcweb.database.findings import Finding, worst_first
from arcweb.database.parts import Part, part
from arcweb.database.rooms import context, database_page
from arcweb.database.safety.doors import doors
from arcweb.database.safety.encryption import encryption
from arcweb.database.safety.grants import grants
from arcweb.database.safety.roles import roles
from arcweb.database.safety.switches import switches
from arcweb.database.safety.unknown import Unknown
from arcweb.database.safety.versions import versions
from arcweb.database.standing import standing

TITLE = "Roles and safety"
#: Name in the template → (what asks it, what begins the sentence of its failure).
PARTS: dict[str, tuple[Callable[[], Any], str]] = {
    "connections": (encryption, "The connections"),
    "roles": (roles, "The roles"),
    "doors": (doors, "The lines of pg_hba.conf"),
    "grants": (grants, "The grants of this database"),
    "versions": (versions, "The versions"),
    "switches": (switches, "The settings"),
}


@require_safe
@database_page(TITLE)
def safety(request: HttpRequest) -> HttpResponse:
    """Findings, worst first, each with its statement; below them what was looked at."""
    parts: dict[str, Part[Any]] = {name: part(ask, what=what) for name, (ask, what) in PARTS.items()}
    found: list[Finding] = []
    for name, asked in parts.items():
        if asked.trouble:
            what = PARTS[name][1]
            found.append(Unknown("unknown", asked.trouble, thing=what[0].lower() + what[1:]))
        elif asked.value is not None:
            found.extend(asked.value if isinstance(asked.value, list) else asked.value.findings)
    found = worst_first(found)
    return render(
        request,
        "admin/database/safety/safety.html",
        context(
            request,
            TITLE,
            findings=found,
            counts={state: sum(one.state == state for one in found) for state in ("bad", "warn", "unknown")},
            first=found[0] if found and found[0].state != "idle" else None,
            unknown=[one.thing for one in found if isinstance(one, Unknown)],
            standing=standing(),
            **parts,
        ),
    )
