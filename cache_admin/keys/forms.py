"""The forms of the pages of keys."""

from __future__ import annotations

from typing import Any

from django import forms
from django.core.exceptions import ValidationError

from cache_admin.keys import names
from cache_admin.keys.edit import LONGEST_TTL
from cache_admin.keys.scan import TYPES
from cache_admin.keys.values import PREVIEW

TTL = [
    ("", "any expiry"),
    ("none", "never expires"),
    ("some", "expires"),
    ("minute", "expires within a minute"),
    ("hour", "expires within an hour"),
    ("day", "expires within a day"),
]
TYPE_WORDS = {"zset": "sorted set"}
HELP = r"* any characters, ? one, [ab] one of these, \ before a character that is meant itself, \xff a byte."


def _text(**attrs: str) -> forms.TextInput:
    plain = {"class": "field mono", "autocomplete": "off", "spellcheck": "false", "autocapitalize": "off"}
    return forms.TextInput(attrs={**plain, **attrs})


class PatternField(forms.CharField):
    """A pattern as it is typed; cleans to itself once it can be read."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(
            max_length=names.LONGEST_PATTERN,
            strip=False,
            widget=_text(placeholder="*"),
            help_text=HELP,
            **kwargs,
        )

    def clean(self, value: Any) -> Any:
        text = super().clean(value)
        try:
            names.read_pattern(text)
        except ValueError as error:
            code = "session" if isinstance(error, names.SessionNamedError) else "invalid"
            raise ValidationError(str(error), code=code) from error
        return text


class BrowseForm(forms.Form):
    match = PatternField(required=False, label="Pattern")
    type = forms.ChoiceField(
        required=False,
        choices=[("", "any type"), *((kind, TYPE_WORDS.get(kind, kind)) for kind in TYPES)],
        widget=forms.Select(attrs={"class": "field"}),
    )
    ttl = forms.ChoiceField(
        required=False, label="Expiry", choices=TTL, widget=forms.Select(attrs={"class": "field"})
    )


class PatternForm(forms.Form):
    """Keys to be deleted; an empty pattern is not taken for all of them."""

    pattern = PatternField(label="Delete the keys that match")


class ValueForm(forms.Form):
    value = forms.CharField(
        required=False,
        strip=False,
        widget=forms.Textarea(
            attrs={"class": "field mono", "rows": 12, "spellcheck": "false", "autocomplete": "off"}
        ),
    )
    read = forms.RegexField(r"^[0-9a-f]{64}$", widget=forms.HiddenInput)
    lived = forms.CharField(required=False, max_length=12, widget=forms.HiddenInput)

    def clean_value(self) -> bytes:
        """Browsers send a line's end as \\r\\n; a value with \\r of its own is not offered for change."""
        raw = str(self.cleaned_data["value"]).replace("\r\n", "\n").encode("utf-8")
        if len(raw) > PREVIEW:
            raise ValidationError(f"A value that is changed here has {PREVIEW:,} bytes at most.")
        return raw


class ExpiryForm(forms.Form):
    seconds = forms.IntegerField(
        min_value=1,
        max_value=LONGEST_TTL,
        label="Expires in (seconds)",
        widget=forms.NumberInput(attrs={"class": "field"}),
    )


class RenameForm(forms.Form):
    name = forms.CharField(strip=False, max_length=10_000, label="New name", widget=_text())

    def clean_name(self) -> bytes:
        try:
            return names.read_name(self.cleaned_data["name"])
        except ValueError as error:
            raise ValidationError(str(error)) from error
