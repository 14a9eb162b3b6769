"""The agents of the stack, as every service sees them."""

from __future__ import annotations

import uuid

from django.contrib.postgres.functions import RandomUUID
from django.contrib.postgres.indexes import OpClass
from django.db import models
from django.db.models.functions import Now, Upper

from agents.querysets import AgentQuerySet


class Agent(models.Model):
    """A row of agents.agents. Columns, types, nullability and defaults are the seed's.

    Other services insert with (name, type) alone, so every other column has a database default;
    `updated_at` is moved by a trigger, whoever writes.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, db_default=RandomUUID(), editable=False)
    name = models.CharField(max_length=255)
    type = models.CharField(
        max_length=50, help_text="What kind of agent it is, such as assistant, research or voice."
    )
    config = models.JSONField(
        null=True, blank=True, help_text="A JSON object; empty when the agent needs none."
    )
    created_at = models.DateTimeField(null=True, db_default=Now(), editable=False)
    updated_at = models.DateTimeField(null=True, db_default=Now(), editable=False)

    objects = AgentQuerySet.as_manager()

    class Meta:
        db_table = '"agents"."agents"'
        indexes = [
            models.Index(fields=["type", "name", "id"], name="idx_agents_type"),
            models.Index(fields=["type", "created_at", "id"], name="idx_agents_type_created_at"),
            models.Index(fields=["name", "id"], name="idx_agents_name"),
            models.Index(fields=["created_at", "id"], name="idx_agents_created_at"),
            # What `name__istartswith` asks.
            models.Index(OpClass(Upper("name"), name="text_pattern_ops"), name="idx_agents_name_begins"),
        ]

    def __str__(self) -> str:
        return self.name
