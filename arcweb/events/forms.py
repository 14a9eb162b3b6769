"""The filters of the events page."""

from __future__ import annotations

from django import forms

from arcweb.events.models import Event
from arcweb.events.querysets import EventQuerySet


class EventFilter(forms.Form):
    kind = forms.CharField(
        required=False, max_length=100, help_text="begins with, e.g. auth. or agent.changed"
    )
    actor = forms.CharField(required=False, max_length=200, help_text="id, or the beginning of the name")
    object = forms.CharField(
        required=False, max_length=300, help_text="id, type/id, or the beginning of the name"
    )
    first = forms.DateField(required=False, label="From", widget=forms.DateInput(attrs={"type": "date"}))
    last = forms.DateField(required=False, label="To", widget=forms.DateInput(attrs={"type": "date"}))

    def events(self) -> EventQuerySet:
        """The events that pass; a filter with an error filters nothing, the form shows why."""
        chosen = self.cleaned_data if self.is_bound else {}
        rows: EventQuerySet = Event.objects.between(chosen.get("first"), chosen.get("last"))
        if chosen.get("kind"):
            rows = rows.of_kind(chosen["kind"])
        if chosen.get("actor"):
            rows = rows.by_actor(chosen["actor"])
        if chosen.get("object"):
            rows = rows.about(chosen["object"])
        return rows
