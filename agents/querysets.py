"""Named queries on agents."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import models

if TYPE_CHECKING:
    from agents.models import Agent  # noqa: F401 - the models import this module


class AgentQuerySet(models.QuerySet["Agent"]):
    def named(self, name: str) -> AgentQuerySet:
        """Agents of exactly that name; names are not unique, so there may be several."""
        return self.filter(name=name).order_by("created_at", "id")
