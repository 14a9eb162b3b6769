"""What operators choose about restores."""

from __future__ import annotations

import json
import uuid
from typing import Any

from django import forms

from arcweb.backups import erasures

WHOLE, OWN, AGENT, TABLE = "whole", "own", "agent", "table"
FIELDS = {WHOLE: (), OWN: ("database",), AGENT: ("agent", "as_name"), TABLE: ("table",)}


class RestoreForm(forms.Form):
    """How much of a copy is restored, and where to."""

    what = forms.ChoiceField(
        choices=[
            (
                WHOLE,
                "Everything: the copy takes the place of the live database, after you have seen what differs",
            ),
            (OWN, "Everything, into a database of its own; the live one stays"),
            (AGENT, "One agent with its memories, into the live database"),
            (TABLE, "One table, into a new schema of the live database"),
        ],
        initial=WHOLE,
        widget=forms.RadioSelect,
        label="What to restore",
    )
    database = forms.CharField(required=False, max_length=63, label="Name of the new database")
    agent = forms.CharField(required=False, max_length=255, label="Agent (its id, or its name)")
    as_name = forms.CharField(
        required=False,
        max_length=255,
        label="As a copy under the name",
        help_text="Every row gets a new id. Empty: as it was, under its own ids.",
    )
    table = forms.CharField(required=False, max_length=127, label="Table, with its schema")

    def ways(self) -> list[tuple[Any, list[Any]]]:
        """Each choice with the fields that belong to it."""
        return [(choice, [self[name] for name in FIELDS[choice.data["value"]]]) for choice in self["what"]]

    def clean(self) -> dict[str, Any]:
        given = super().clean() or self.cleaned_data
        needed = {OWN: "database", AGENT: "agent", TABLE: "table"}.get(given.get("what", ""))
        if needed and not given.get(needed):
            self.add_error(needed, "This is needed for what you chose.")
        if given.get("what") == TABLE and "." not in given.get("table", "."):
            self.add_error("table", "Write the table with its schema, as agents.memories.")
        return given


class ErasureForm(forms.Form):
    """An erasure that restores carry out again."""

    kind = forms.ChoiceField(widget=forms.RadioSelect, label="What to erase")
    agent = forms.CharField(required=False, max_length=36, label="Id of the agent")
    metadata = forms.CharField(
        required=False,
        max_length=2000,
        label="Metadata, a JSON object",
        help_text='Every document and memory whose metadata contains it, of any agent: {"person": "4711"}.',
    )
    typed = forms.CharField(max_length=10, label="To confirm, type erase")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["kind"].choices = list(erasures.kinds().items())  # type: ignore[attr-defined]

    def ways(self) -> list[tuple[Any, list[Any]]]:
        """Each choice with the fields that belong to it."""
        return [
            (choice, [self[name] for name in (choice.data["value"],) if name in self.fields])
            for choice in self["kind"]
        ]

    def clean_typed(self) -> str:
        if self.cleaned_data["typed"].strip() != "erase":
            raise forms.ValidationError("Nothing was erased: type erase to confirm.")
        return "erase"

    def clean(self) -> dict[str, Any]:
        given = super().clean() or self.cleaned_data
        if given.get("kind") == "agent":
            try:
                given["what"] = {"id": str(uuid.UUID(given.get("agent", "")))}
            except ValueError:
                self.add_error("agent", "An agent's id is a UUID; its page shows it.")
        elif given.get("kind") == "metadata":
            try:
                found = json.loads(given.get("metadata", ""))
            except (ValueError, RecursionError):
                found = None
            if isinstance(found, dict) and found:
                given["what"] = {"metadata": found}
            else:
                self.add_error(
                    "metadata", "Write a JSON object that is not empty, which would match everything."
                )
        return given
