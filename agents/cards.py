"""What the overview shows of the agents."""

from __future__ import annotations

from collections.abc import Mapping

from django.db.models import Count
from django.http import HttpRequest
from django.urls import reverse
from django.utils.http import urlencode

from agents.finder import find_agents
from agents.models import Agent
from arcweb.charts import quantity
from arcweb.events.names import register_agents
from arcweb.panels import Card, Concern, Panel, Row, register_panel
from arcweb.watches import Outlook, Watch, register_watch

#: Types that the card names; the largest.
MOST_TYPES = 4
NONE_YET = "There are no agents yet: add the first, or fill a demo with `manage.py demo`."


def agents_card(request: HttpRequest) -> Card:
    # Answered by the index of types alone.
    types = list(
        Agent.objects.order_by().values_list("type").annotate(number=Count("pk")).order_by("-number", "type")
    )
    total = sum(number for _, number in types)
    if not total:
        may_add = request.user.has_perm("agents.add_agent")
        add = reverse("admin:agents_agent_add") if may_add else ""
        return Card(
            "idle", "None yet", "0", "agents", concerns=(Concern("idle", NONE_YET, add, "Add an agent"),)
        )
    shown = types if len(types) <= MOST_TYPES else types[: MOST_TYPES - 1]
    rows = [
        Row(
            name or "Without a type",
            f"{number:,}",
            url=f"{_list()}?{urlencode({'type__exact': name})}" if name else "",
        )
        for name, number in shown
    ]
    if len(shown) < len(types):
        rest = sum(number for _, number in types[len(shown) :])
        rows.append(Row(f"{len(types) - len(shown)} other types", f"{rest:,}"))
    return Card("good", "Well", f"{total:,}", "agent" if total == 1 else "agents", tuple(rows))


def _list() -> str:
    return reverse("admin:agents_agent_changelist")


def look(values: Mapping[str, float] | None) -> Outlook:
    """For the verdict, from the newest sample."""
    if values is None:
        return Outlook()
    if not values.get("total"):
        return Outlook((Concern("idle", NONE_YET, reverse("admin:agents_agent_changelist"), "Agents"),))
    total = values["total"]
    return Outlook(well=f"{quantity(total)} {'agent is' if total == 1 else 'agents are'} known")


register_watch(Watch("agents", "agents.view_agent", "agents", look, order=60))
register_panel(
    Panel(
        "agents",
        "Agents",
        "overview",
        "agents.view_agent",
        agents_card,
        order=20,
        refresh=30,
        url_name="admin:agents_agent_changelist",
    )
)
register_agents(lambda text, most: [agent.pk for agent in find_agents(text, most)])
