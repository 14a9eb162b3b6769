"""The filters of the events page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from itertools import groupby
from typing import Any

from django import forms
from django.core.exceptions import ValidationError

from arcweb.events.models import Event
from arcweb.events.querysets import MOST_KINDS, EventQuerySet
from arcweb.events.sentences import kinds as described_kinds

#: What the first part of a kind is about, for people; another is shown as it is.
GROUPS = {
    "access": "Refusals",
    "agent": "Agents",
    "auth": "Logins",
    "document": "Documents",
    "events": "Events",
    "group": "Groups",
    "job": "Jobs",
    "memory": "Memories",
    "session": "Sessions",
    "user": "Users",
}

Choices = list[tuple[str, Any]]


def kind_choices(kinds: Sequence[str], chosen: str = "") -> Choices:
    """Kinds by what they are about; `chosen` is among them, even when it is only a beginning."""
    choices: Choices = [("", "every kind")]
    for group, several in groupby(sorted(set(kinds)), key=lambda kind: kind.partition(".")[0]):
        title = GROUPS.get(group, group.capitalize())
        members = [(kind, kind) for kind in several]
        choices.append((title, [(f"{group}.", f"{title}: all"), *members]))
    listed = {value for _, options in choices[1:] for value, _ in options}
    if chosen and chosen not in listed:
        choices.append((chosen, f"begins with {chosen}"))
    return choices


def _text(**attrs: str) -> forms.TextInput:
    return forms.TextInput(attrs={"class": "field", "autocomplete": "off", **attrs})


def _date() -> forms.DateInput:
    return forms.DateInput(attrs={"type": "date", "class": "field"}, format="%Y-%m-%d")


class EventFilter(forms.Form):
    """`kinds` are those that occur; a kind among them is meant exactly, anything else as a beginning."""

    kind = forms.CharField(required=False, max_length=100, widget=forms.Select(attrs={"class": "field"}))
    actor = forms.CharField(
        required=False, max_length=200, help_text="Id, or the beginning of the name.", widget=_text()
    )
    agent = forms.CharField(
        required=False, max_length=255, help_text="Id, or the beginning of the name.", widget=_text()
    )
    object = forms.CharField(
        required=False, max_length=300, help_text="Id, type/id, or the beginning of the name.", widget=_text()
    )
    first = forms.DateField(required=False, label="From", widget=_date())
    last = forms.DateField(required=False, label="To", widget=_date(), help_text="This day included, UTC.")

    def __init__(self, data: Mapping[str, Any], kinds: Sequence[str]) -> None:
        super().__init__(data)
        self.occurring = tuple(kinds)
        self.kinds = {*kinds, *described_kinds()}
        select = self.fields["kind"].widget
        assert isinstance(select, forms.Select)  # noqa: S101 - for the type checker
        select.choices = kind_choices(sorted(self.kinds), str(data.get("kind", ""))[:100])

    def clean(self) -> dict[str, Any]:
        chosen = super().clean() or self.cleaned_data
        first: date | None = chosen.get("first")
        last: date | None = chosen.get("last")
        if first and last and first > last:
            raise ValidationError("The first day is after the last, so that no event can pass.")
        return chosen

    def events(self) -> EventQuerySet:
        """The events that pass; a filter with an error filters nothing, the form shows why."""
        chosen = self.cleaned_data if self.is_bound else {}
        rows: EventQuerySet = Event.objects.between(chosen.get("first"), chosen.get("last"))
        if kind := chosen.get("kind"):
            rows = rows.filter(kind=kind) if kind in self.kinds else self._beginning(rows, kind)
        if chosen.get("agent"):
            rows = rows.of_agents(chosen["agent"])
        if chosen.get("actor"):
            rows = rows.by_actor(chosen["actor"])
        if chosen.get("object"):
            rows = rows.about(chosen["object"])
        return rows

    def _beginning(self, rows: EventQuerySet, beginning: str) -> EventQuerySet:
        if len(self.occurring) >= MOST_KINDS:  # there may be kinds that nobody named
            return rows.of_kind(beginning)
        return rows.of_kinds(kind for kind in self.occurring if kind.startswith(beginning))
