"""What people choose when they take a backup."""

from __future__ import annotations

from typing import Any

from django import forms

from arcweb.backups.exceptions import BackupError
from arcweb.backups.models import Format, Source
from arcweb.backups.one_agent import identify
from arcweb.backups.taking import Options

#: What can be taken, in words: value → (source, format, scope).
KINDS: dict[str, tuple[str, str, str, dict[str, str]]] = {
    "database": ("The whole database", Source.POSTGRES, Format.CUSTOM, {}),
    "schema": (
        "The schema agents: agents, documents, memories",
        Source.POSTGRES,
        Format.CUSTOM,
        {"schema": "agents"},
    ),
    "agent": ("One agent with its documents and memories", Source.POSTGRES, Format.CUSTOM, {}),
    "plain": ("The whole database as SQL text, for psql", Source.POSTGRES, Format.PLAIN, {}),
    "base": ("The whole server, for point in time", Source.POSTGRES, Format.BASE, {}),
    "incremental": (
        "What changed on the server since the last base",
        Source.POSTGRES,
        Format.INCREMENTAL,
        {},
    ),
    "redis-state": ("Redis, state: queue, locks, limits, leaderboards", Source.STATE, Format.RDB, {}),
    "redis-cache": ("Redis, cache: cache and cached sessions", Source.CACHE, Format.RDB, {}),
}


class TakeForm(forms.Form):
    kind = forms.ChoiceField(
        choices=[(key, words[0]) for key, words in KINDS.items()],
        widget=forms.RadioSelect,
        label="What",
        initial="database",
    )
    agent = forms.CharField(
        required=False,
        max_length=300,
        label="Agent",
        help_text="Its name or its id. Only for one agent.",
        widget=forms.TextInput(attrs={"class": "field", "size": 38, "spellcheck": "false"}),
    )
    verify = forms.BooleanField(required=False, initial=True, label="Prove it afterwards, by restoring it")

    def clean(self) -> dict[str, Any]:
        chosen = super().clean() or self.cleaned_data
        if chosen.get("kind") == "agent" and not chosen.get("agent") and "agent" not in self.errors:
            self.add_error("agent", "Say which agent, by its name or its id.")
        return chosen

    def clean_agent(self) -> str:
        said: str = self.cleaned_data["agent"]
        if self.data.get("kind") != "agent" or not said:
            return ""
        try:
            return identify(said)
        except BackupError as error:
            raise forms.ValidationError(str(error)) from None

    def options(self) -> Options:
        """What was chosen; only of a valid form."""
        _, source, format_, scope = KINDS[self.cleaned_data["kind"]]
        if self.cleaned_data["kind"] == "agent":
            scope = {"agent": self.cleaned_data["agent"]}
        return Options(source, format_, dict(scope), verify=self.cleaned_data["verify"])
