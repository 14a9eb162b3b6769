"""Agents in the admin."""

from __future__ import annotations

from django.contrib import admin

from agents.forms import AgentForm
from agents.models import Agent
from arcweb.admin import CountedDeletion, LargeTable
from arcweb.events.admin import AuditedAdmin


@admin.register(Agent)
class AgentAdmin(CountedDeletion, LargeTable, AuditedAdmin):
    form = AgentForm
    list_display = ("name", "type", "created_at", "updated_at")
    list_filter = ("type",)
    search_fields = ("name",)
    ordering = ("name", "id")
    readonly_fields = ("id", "created_at", "updated_at")
    fields = ("name", "type", "config", "id", "created_at", "updated_at")
