"""The form of an agent."""

from __future__ import annotations

from django import forms

from agents.models import Agent
from arcweb.forms import JSONObjectField
from arcweb.widgets import JSONEditor


class AgentForm(forms.ModelForm[Agent]):
    config = JSONObjectField(
        widget=JSONEditor(attrs={"rows": 16}), help_text="A JSON object; empty when the agent needs none."
    )

    class Meta:
        model = Agent
        fields = ["name", "type", "config"]
