"""What memories tell about agents: figures in their list, and the newest memories on an agent's page."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from django.http import HttpRequest
from django.urls import reverse

from agents.figures import Figure, Figures
from arcweb import keyset
from arcweb.panels import Card, Panel
from memories.models import Memory
from memories.querysets import of_agents

#: Memories and documents shown on an agent's page.
NEWEST = 6


def figures(ids: Sequence[UUID]) -> dict[UUID, Figure]:
    """How many memories each agent has, and when its newest was stored."""
    url = reverse("admin:memories_memory_changelist")

    def words(counted: int, estimated: int) -> str:
        return f"{counted:,}" if counted <= keyset.MOST_COUNTED else str(keyset.about(estimated))

    return {
        agent: Figure(words(known.counted, known.estimated), known.newest, f"{url}?agent={agent}")
        for agent, known in of_agents(ids, keyset.MOST_COUNTED).items()
    }


FIGURES = Figures("memories", "memories.view_memory", figures)


def newest(request: HttpRequest, agent: UUID) -> Card:
    """The memories of an agent that were stored last."""
    order = keyset.Order(Memory, "created_at")
    memories = order.page(Memory.objects.filter(agent=agent).listed(), NEWEST).rows
    last: datetime | None = memories[0].created_at if memories else None
    word = f"last {last:%Y-%m-%d %H:%M} UTC" if last else "None yet" if not memories else "Time unknown"
    return Card(
        "idle",
        word,
        template="admin/memories/memories_newest.html",
        context={
            "memories": memories,
            "all_url": f"{reverse('admin:memories_memory_changelist')}?agent={agent}",
        },
    )


PANEL = Panel(
    "agent-newest",
    "Newest memories",
    "agent",
    "memories.view_memory",
    newest,
    order=40,
    refresh=15,
    wide=True,
)
