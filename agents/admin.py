"""Agents in the admin."""

from __future__ import annotations

import json
from typing import Any

from django.contrib import admin
from django.contrib.admin.utils import unquote
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.html import format_html

from agents import admin_views, finder
from agents.figures import Figure, registered_figures
from agents.forms import AgentForm
from agents.models import Agent
from agents.querysets import known_types, last_events
from arcweb.admin import ChangedFieldsOnly, CountedDeletion, LargeTable, moment
from arcweb.events.admin import AuditedAdmin
from arcweb.panel_views import placed
from arcweb.registry import Finder, NavItem, Page, register_finder, register_nav, register_page

#: Types that the filter offers.
MOST_TYPES = 100

register_nav(NavItem("Agents", "Agents", "admin:agents_agent_changelist", "agents.view_agent", order=10))
register_nav(
    NavItem("Add an agent", "Agents", "admin:agents_agent_add", "agents.add_agent", 11, listed=False)
)
register_finder(Finder("Agents", "agents.view_agent", finder.find, order=10))
register_page(
    Page(
        "agents/suggest/",
        admin_views.suggest,
        "agents_suggest",
        "Agents as one types",
        "Agents",
        "agents.view_agent",
        listed=False,
    )
)


class TypeFilter(admin.SimpleListFilter):
    title = "type"
    parameter_name = "type__exact"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(name, name) for name in known_types(MOST_TYPES)]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Agent]) -> QuerySet[Agent]:
        return queryset.filter(type=self.value()) if self.value() else queryset


@admin.register(Agent)
class AgentAdmin(CountedDeletion, ChangedFieldsOnly, LargeTable, AuditedAdmin):
    form = AgentForm
    add_form_template = "admin/change_form.html"
    change_form_template = "admin/agents/agent.html"
    watch = "agents"
    list_display = ("name", "type", "memories", "last_activity", "created")
    list_filter = (TypeFilter,)
    search_fields = ("name__istartswith",)
    search_help_text = "The beginning of a name, in any case."
    sortable_by = ("name", "created")
    ordering = ("name",)
    fields = ("name", "type", "config")

    class Media:
        css = {"all": ["arcweb/records.css"]}

    def listed(self, rows: QuerySet[Agent]) -> QuerySet[Agent]:
        return rows.defer("config")

    def prepare_rows(self, request: HttpRequest, rows: list[Any]) -> None:
        """What other apps know of the agents of this page, and their last events: a query each."""
        ids = [agent.pk for agent in rows]
        known = [kind.of(ids) for kind in registered_figures() if request.user.has_perm(kind.permission)]
        events = last_events(ids) if request.user.has_perm("events.view_event") else {}
        for agent in rows:
            figures = [kind[agent.pk] for kind in known if agent.pk in kind]
            moments = [figure.last_activity for figure in figures] + [events.get(agent.pk)]
            agent.figure = next((figure for figure in figures if figure.text), Figure())
            agent.last_activity = max((time for time in moments if time is not None), default=None)

    @admin.display(description="memories")
    def memories(self, agent: Any) -> str:
        figure: Figure = agent.figure
        return (
            format_html('<a href="{}">{}</a>', figure.url, figure.text)
            if figure.url
            else figure.text or "none"
        )

    @admin.display(description="last activity (UTC)")
    def last_activity(self, agent: Any) -> str:
        return moment(agent.last_activity) if agent.last_activity else "none yet"

    @admin.display(description="created (UTC)", ordering="created_at")
    def created(self, agent: Agent) -> str:
        return moment(agent.created_at)

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """The agent's page: facts, config, a search box, and the panels that apps registered for agents."""
        agent = self.get_object(request, unquote(object_id))
        extra: dict[str, Any] = {}
        if agent is not None:
            config = "" if agent.config is None else json.dumps(agent.config, indent=2, ensure_ascii=False)
            extra = {"panels": placed(request, "agent", agent.pk), "config": config, "title": agent.name}
        return super().change_view(request, object_id, form_url, {**extra, **(extra_context or {})})
