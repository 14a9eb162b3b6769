"""Forms for memories, ingestion and search."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django import forms
from django.conf import settings
from django.contrib import admin
from django.contrib.admin.widgets import AutocompleteSelect
from django.core.exceptions import ValidationError
from django.core.files.uploadedfile import UploadedFile

from agents.models import Agent
from arcweb.forms import JSONObjectField
from arcweb.seen import SeenForm
from arcweb.widgets import JSONEditor
from memories import uploads
from memories.models import Document, Memory
from memories.search import DEFAULT_RESULTS, LONGEST_QUERY, MODES, MOST_RESULTS, Filters

#: Files in one form; their jobs and documents must fit into the address of the page that shows them.
MOST_FILES = 50


class AgentSelect(AutocompleteSelect):
    """Finds agents as one types; a value that is no id selects nothing."""

    @property
    def media(self) -> forms.Media:
        return super().media + forms.Media(js=["arcweb/autocomplete.js"])

    def optgroups(self, name: str, value: Sequence[str], attr: dict[str, Any] | None = None) -> Any:
        return super().optgroups(name, [item for item in value if is_uuid(item)], attr)


def is_uuid(text: str) -> bool:
    try:
        UUID(text)
    except ValueError:
        return False
    return True


class AgentField(forms.ModelChoiceField[Agent]):
    """An agent by its id; a value that is no id is an agent that does not exist."""

    def to_python(self, value: Any) -> Agent | None:
        if value and not isinstance(value, Agent) and not is_uuid(str(value)):
            raise ValidationError(self.error_messages["invalid_choice"], code="invalid_choice")
        agent: Agent | None = super().to_python(value)
        return agent


def _agent_field(*, required: bool, help_text: str) -> AgentField:
    return AgentField(
        Agent.objects.all(),
        required=required,
        widget=AgentSelect(Memory._meta.get_field("agent"), admin.site),
        help_text=help_text,
        error_messages={"invalid_choice": "There is no such agent any more."},
    )


class LinesField(forms.CharField):
    """Text whose lines end with \n: browsers send \r\n, which would make every text a changed one."""

    widget = forms.Textarea

    def to_python(self, value: Any) -> str:
        return (super().to_python(value) or "").replace("\r\n", "\n")


class MemoryForm(SeenForm):
    agent = _agent_field(required=False, help_text="Empty: a memory of no agent.")
    content = LinesField(required=False, strip=False)
    metadata = JSONObjectField(
        widget=JSONEditor(attrs={"rows": 8}), help_text="A JSON object; searches can filter on it."
    )

    class Meta:
        model = Memory
        fields = ["agent", "content", "metadata"]


class DocumentForm(SeenForm):
    metadata = JSONObjectField(widget=JSONEditor(attrs={"rows": 8}), help_text="A JSON object.")

    class Meta:
        model = Document
        fields = ["name", "metadata"]

    def clean_name(self) -> str:
        try:
            return uploads.check_name(self.cleaned_data["name"])
        except uploads.UploadError as error:
            raise ValidationError(str(error)) from error


class SeveralFilesInput(forms.ClearableFileInput):
    allow_multiple_selected = True


class SeveralFilesField(forms.FileField):
    """Up to MOST_FILES uploaded files; they are read and judged by `IngestForm.uploads`, one by one."""

    widget = SeveralFilesInput

    def clean(self, data: Any, initial: Any = None) -> list[UploadedFile]:
        files = [item for item in (data if isinstance(data, list | tuple) else [data]) if item]
        if len(files) > MOST_FILES:
            raise ValidationError(
                f"{len(files)} files were chosen and {MOST_FILES} at once are the most; nothing was stored. "
                "Send them in parts, or use manage.py ingest."
            )
        return files


@dataclass(frozen=True)
class Refused:
    """Something that cannot be ingested, and why, in a sentence."""

    name: str
    sentence: str


class IngestForm(forms.Form):
    """Files, a pasted text, or both, for one agent."""

    agent = _agent_field(required=True, help_text="Whose memory the documents go to.")
    documents = SeveralFilesField(
        required=False,
        widget=SeveralFilesInput(attrs={"accept": ",".join(uploads.MEDIA_TYPES), "multiple": True}),
    )
    name = forms.CharField(
        required=False,
        max_length=uploads.LONGEST_NAME,
        label="Name of the pasted text",
        widget=forms.TextInput(attrs={"class": "field", "autocomplete": "off"}),
        help_text="Empty: its first words.",
    )
    text = forms.CharField(
        required=False,
        strip=False,
        label="Pasted text",
        widget=forms.Textarea(attrs={"rows": 8, "class": "field"}),
    )

    def clean(self) -> dict[str, Any]:
        data = super().clean() or self.cleaned_data
        chosen = data.get("documents") or "documents" in self.errors
        if not chosen and not (data.get("text") or "").strip():
            self.add_error(None, "Choose at least one file, or paste a text.")
        return data

    def uploads(self) -> Iterator[uploads.TextUpload | Refused]:
        """Each thing that was given, read when its turn comes: as text, or with the reason against it."""
        limit = settings.ARC_MAX_UPLOAD_MB
        for file in self.cleaned_data["documents"]:
            name = file.name or ""
            try:
                uploads.check_size(name, file.size or 0, limit)
                yield uploads.from_bytes(name, file.read(), limit_mb=limit)
            except uploads.UploadError as error:
                yield Refused(name, str(error))
        text = self.cleaned_data["text"]
        if text.strip():
            name = self.cleaned_data["name"].strip() or uploads.name_for(text)
            try:
                yield uploads.from_text(name, text, limit_mb=limit)
            except uploads.UploadError as error:
                yield Refused(name, str(error))


class SearchForm(forms.Form):
    """A search; its values stand in the page's address."""

    q = forms.CharField(
        label="Search for",
        max_length=LONGEST_QUERY,
        widget=forms.TextInput(
            attrs={
                "type": "search",
                "class": "field",
                "autofocus": True,
                "autocomplete": "off",
                "placeholder": "Ask in your own words, or type the words to find",
            }
        ),
        error_messages={"required": "Type what you are looking for."},
    )
    mode = forms.ChoiceField(
        required=False, choices=list(MODES.items()), initial="semantic", widget=forms.RadioSelect
    )
    agent = _agent_field(required=False, help_text="Empty: all agents.")
    type = forms.CharField(
        required=False, max_length=50, label="Agent type", widget=forms.TextInput(attrs={"class": "field"})
    )
    metadata = JSONObjectField(
        widget=forms.TextInput(
            attrs={"class": "field mono", "spellcheck": "false", "placeholder": '{"source": "handbook.md"}'}
        ),
        help_text="A JSON object that the metadata must contain.",
    )
    k = forms.IntegerField(
        required=False,
        min_value=1,
        max_value=MOST_RESULTS,
        initial=DEFAULT_RESULTS,
        label="Results at most",
        widget=forms.NumberInput(attrs={"class": "field"}),
    )

    def filters(self) -> Filters:
        data = self.cleaned_data
        return Filters(
            agent_id=data["agent"].pk if data["agent"] else None,
            agent_type=data["type"],
            metadata=data["metadata"] or {},
        )
