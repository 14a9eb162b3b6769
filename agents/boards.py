"""The leaderboard of agents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from uuid import UUID

from django.urls import reverse

from agents.models import Agent
from arcweb.leaderboards import Board, Member, register_board


def _members(ids: Sequence[str]) -> Mapping[str, Member]:
    wanted = []
    for one in ids:
        try:
            wanted.append(UUID(one))
        except ValueError:
            continue  # somebody else wrote there
    found = Agent.objects.filter(pk__in=wanted).values_list("pk", "name")
    return {str(pk): Member(name, reverse("admin:agents_agent_change", args=[pk])) for pk, name in found}


ACTIVE = register_board(
    Board(
        "agents",
        "Most active agents",
        "A point for each search that one of its memories led, and for each memory it stored by ingestion.",
        "agents.view_agent",
        _members,
    )
)
