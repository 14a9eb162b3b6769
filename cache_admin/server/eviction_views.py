"""What would be evicted first, and what that breaks."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from cache_admin import connections, rooms
from cache_admin.connections import Role
from cache_admin.rooms import redis_page
from cache_admin.server.capabilities import capabilities
from cache_admin.server.eviction import POLICIES, verdict
from cache_admin.server.purposes import survey


@require_safe
@redis_page("Eviction")
def redis_eviction(request: HttpRequest, role: Role) -> HttpResponse:
    """The verdict on a sample of the role's database."""
    known = capabilities(role)
    why_not = known.why_not("INFO") or known.why_not("SCAN") or known.why_not("DBSIZE")
    found, judged = None, None
    if not why_not:
        with connections.client(role) as client:
            found = survey(client)
            judged = verdict(role, client.info("memory"), found)
    return render(
        request,
        "admin/cache_admin/server/eviction.html",
        {
            **rooms.context(request, role, "Eviction"),
            "why_not": why_not,
            "found": found,
            "verdict": judged,
            "took": round(1000 * found.seconds) if found else 0,
            "policies": POLICIES.items(),
        },
    )
