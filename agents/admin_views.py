"""Views on agents beside their list and page."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from agents.finder import find_agents

#: Agents that a field suggests at once.
MOST_SUGGESTED = 12


@require_safe
def suggest(request: HttpRequest) -> HttpResponse:
    """The options of a datalist: agents whose name begins with `agent`; ids where a name is not unique."""
    found = find_agents(request.GET.get("agent", "").strip()[:255], MOST_SUGGESTED)
    names = [agent.name for agent in found]
    options = [(agent, agent.name if names.count(agent.name) == 1 else agent.pk) for agent in found]
    return render(request, "admin/agents/_suggestions.html", {"options": options})
