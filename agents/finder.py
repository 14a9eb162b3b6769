"""Agents for the command palette and for fields that suggest agents as one types."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.urls import reverse

from agents.models import Agent
from arcweb.registry import Found


def find_agents(text: str, most: int) -> list[Agent]:
    """The agent of that id, else those whose name begins with the text (in any case), by name."""
    try:
        return list(Agent.objects.filter(pk=UUID(text)))
    except ValueError:
        return list(Agent.objects.begins(text).defer("config")[:most]) if text.isprintable() else []


def find(user: Any, text: str, most: int) -> list[Found]:
    """For `arcweb.registry.Finder`."""
    return [
        Found(agent.name, reverse("admin:agents_agent_change", args=[agent.pk]), agent.type)
        for agent in find_agents(text, most)
    ]
