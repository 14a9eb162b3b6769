"""The form of an agent."""

from __future__ import annotations

from django import forms

from agents.models import Agent
from arcweb.forms import JSONObjectField


class AgentForm(forms.ModelForm[Agent]):
    config = JSONObjectField(help_text="A JSON object; empty when the agent needs none.")

    class Meta:
        model = Agent
        fields = ["name", "type", "config"]
