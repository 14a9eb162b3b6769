"""Finding the one agent that a person means."""

from __future__ import annotations

from uuid import UUID

from agents.models import Agent


class AgentLookupError(LookupError):
    """No agent, or more than one, answers to what was asked; the message says what to do."""


def find_agent(name_or_id: str) -> Agent:
    """The agent of that id, else the only one of that name.

    Raises AgentLookupError when there is none or the name is ambiguous.
    """
    try:
        return Agent.objects.get(pk=UUID(name_or_id))
    except (ValueError, Agent.DoesNotExist):
        pass
    if not name_or_id.isprintable():
        raise AgentLookupError("An agent's name has only characters that can be printed.")
    found = list(Agent.objects.named(name_or_id)[:5])
    if not found:
        raise AgentLookupError(f"There is no agent named {name_or_id!r}.")
    if len(found) > 1:
        ids = ", ".join(str(agent.pk) for agent in found)
        raise AgentLookupError(
            f"More than one agent is named {name_or_id!r}; use an id instead of the name: {ids}."
        )
    return found[0]
