"""Forms that overwrite nothing that the person has not seen."""

from __future__ import annotations

import hashlib
import json
from copy import copy
from typing import TYPE_CHECKING, Any

from django import forms
from django.db.models import Model
from django.forms.models import model_to_dict

if TYPE_CHECKING:
    _ModelForm = forms.ModelForm[Any]
else:
    _ModelForm = forms.ModelForm  # subscriptable for type checkers only

#: Characters of a value that somebody else saved, in the sentence that says so.
MOST_SHOWN = 120


class ChangedMeanwhile(Exception):  # noqa: N818 - it is no fault
    """The row was changed between the look at the form and the lock on the row."""


class SeenForm(_ModelForm):
    """A form that carries what its fields were when it was shown, as short hashes.

    A field that somebody else changed meanwhile keeps that change when the person left it alone; when both
    changed it, nothing is saved, what was typed stays, and saving once more replaces the other's.
    """

    seen = forms.CharField(required=False, widget=forms.HiddenInput)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._left_alone: set[str] = set()
        self._now = {} if self.instance._state.adding else self.prints(self.instance)
        self.initial["seen"] = json.dumps(self._now)

    def prints(self, row: Model) -> dict[str, str]:
        """Field to hash of a row's present values."""
        names = [name for name in self.fields if name != "seen"]
        return {name: _print(value) for name, value in model_to_dict(row, names).items()}

    @property
    def changed_data(self) -> list[str]:
        names = super().changed_data
        return [name for name in names if name != "seen" and name not in self._left_alone]

    def clean(self) -> dict[str, Any]:
        data: dict[str, Any] = super().clean() or self.cleaned_data
        for name, print_then in _parsed(data.pop("seen", "")).items():
            if name not in data or self._now.get(name, print_then) == print_then:
                continue
            typed = _print(data[name])
            if typed == print_then:
                self._left_alone.add(name)
                data[name] = getattr(self.instance, name)
            elif typed != self._now[name]:
                self.add_error(
                    name,
                    f"Somebody saved another {self[name].label.lower()} meanwhile: "
                    f"{_shown(getattr(self.instance, name))}. Yours is kept here and not saved yet; "
                    "save once more to replace the other.",
                )
        if self.errors:
            data_again: Any = copy(self.data)
            data_again[self.add_prefix("seen")] = self.initial["seen"]
            self.data = data_again
        return data

    def check_unchanged(self, row: Model) -> None:
        """Raises ChangedMeanwhile when what is to be written was changed since the form looked at it."""
        prints = self.prints(row)
        if any(prints.get(name) != self._now.get(name) for name in self.changed_data):
            raise ChangedMeanwhile


def _print(value: Any) -> str:
    if isinstance(value, Model):
        value = value.pk
    if isinstance(value, str):
        value = value.replace("\r\n", "\n")
    if value in (None, ""):
        return ""
    text = json.dumps(value, sort_keys=True, default=str)
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:16]


def _parsed(text: str) -> dict[str, str]:
    """What the hidden field holds; nothing of one that was not made here."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return {str(name): str(then) for name, then in value.items()} if isinstance(value, dict) else {}


def _shown(value: Any) -> str:
    if value in (None, ""):
        return "it is empty now"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    text = " ".join(text.split())
    return f"“{text[:MOST_SHOWN]}{'…' if len(text) > MOST_SHOWN else ''}”"
