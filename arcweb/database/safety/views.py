"""The page Roles and safety."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from arcweb.database.findings import Finding, worst_first
from arcweb.database.parts import Part, part
from arcweb.database.rooms import context, database_page
from arcweb.database.safety.encryption import encryption
from arcweb.database.safety.grants import grants
from arcweb.database.safety.roles import roles
from arcweb.database.safety.switches import switches
from arcweb.database.safety.versions import versions
from arcweb.database.standing import standing

TITLE = "Roles and safety"


@require_safe
@database_page(TITLE)
def safety(request: HttpRequest) -> HttpResponse:
    """Findings, worst first, each with its statement; below them what was looked at."""
    parts: dict[str, Part[Any]] = {
        "connections": part(encryption, what="The connections"),
        "roles": part(roles, what="The roles"),
        "grants": part(grants, what="The grants of this database"),
        "versions": part(versions, what="The versions"),
        "switches": part(switches, what="The settings"),
    }
    found: list[Finding] = []
    for asked in parts.values():
        if asked.trouble:
            found.append(Finding("unknown", asked.trouble))
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
            first=found[0] if found else None,
            standing=standing(),
            **parts,
        ),
    )
