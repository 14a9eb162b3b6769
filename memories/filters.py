"""Filters of the lists of memories and documents."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from agents.lookup import AgentLookupError, find_agent
from agents.models import Agent


class AgentFilter(admin.ListFilter):
    """One agent, by id or by name: ?agent=… (what one types) or ?agent__id__exact=… (what pages link to)."""

    title = "agent"
    template = "admin/memories/memories_agent_filter.html"
    names = ("agent", "agent__id__exact")

    def __init__(self, request: HttpRequest, params: dict[str, Any], model: Any, model_admin: Any) -> None:
        super().__init__(request, params, model, model_admin)
        values = [params.pop(name)[-1].strip() for name in self.names if name in params]
        self.asked = next((value for value in values if value), "")
        self.agent: Agent | None = None
        self.trouble = ""
        if self.asked:
            try:
                self.agent = find_agent(self.asked)
            except AgentLookupError as error:
                self.trouble = str(error)

    def has_output(self) -> bool:
        return True

    def expected_parameters(self) -> list[str | None]:
        return list(self.names)

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.agent is not None:
            return queryset.filter(agent=self.agent)
        return queryset.none() if self.asked else queryset

    def choices(self, changelist: Any) -> Iterator[dict[str, Any]]:
        """The link that leaves the filter out, and the other parameters that the form must carry along."""
        kept = [(name, value) for name, value in changelist.params.items() if name not in self.names]
        yield {
            "selected": not self.asked,
            "query_string": changelist.get_query_string(remove=list(self.names)),
            "display": "All agents",
            "kept": kept,
        }
