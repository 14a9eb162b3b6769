"""The form of an agent."""

from __future__ import annotations

from agents.models import Agent
from arcweb.forms import JSONObjectField
from arcweb.seen import SeenForm
from arcweb.widgets import JSONEditor


class AgentForm(SeenForm):
    config = JSONObjectField(
        widget=JSONEditor(attrs={"rows": 16}), help_text="A JSON object; empty when the agent needs none."
    )

    class Meta:
        model = Agent
        fields = ["name", "type", "config"]
