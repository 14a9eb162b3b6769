"""Forms that overwrite nothing that the person has not seen."""

from __future__ import annotations

import hashlib
import json
from copy import copy
from typing import TYPE_CHECKING, Any

from django import forms
from django.db.models import Model, QuerySet
from django.forms.models import model_to_dict

if TYPE_CHECKING:
    _ModelForm = forms.ModelForm[Any]
else:
    _ModelForm = forms.ModelForm  # subscriptable for type checkers only

#: Characters of a value that somebody else saved, in the sentence that says so.
MOST_SHOWN = 120
#: Things of a list that are named there.
MOST_NAMED = 5


class ChangedMeanwhile(Exception):  # noqa: N818 - it is no fault
    """The row was changed between the look at the form and the lock on the row."""


class SeenFields(forms.Form):
    """A form that carries what its fields were when it was shown, as short hashes.

    A field that somebody else changed meanwhile keeps that change when the person left it alone; when both
    changed it, nothing is saved, what was typed stays, and saving once more replaces the other's.

    A subclass knows what the fields are now: `prints_now` (asked once) and `value_now`.
    """

    seen = forms.CharField(required=False, widget=forms.HiddenInput)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._left_alone: set[str] = set()
        self._now = self.prints_now()
        self.initial["seen"] = json.dumps(self._now)

    def prints_now(self) -> dict[str, str]:
        """Field to hash (`print_of`) of its present value."""
        raise NotImplementedError

    def value_now(self, name: str) -> Any:
        """The present value of a field, as cleaned data has it."""
        raise NotImplementedError

    def called(self, name: str) -> str:
        """What a sentence calls a field."""
        return str(self[name].label).lower()

    @property
    def changed_data(self) -> list[str]:
        names = super().changed_data
        return [name for name in names if name != "seen" and name not in self._left_alone]

    def clean(self) -> dict[str, Any]:
        data: dict[str, Any] = super().clean() or self.cleaned_data
        then = _parsed(data.pop("seen", ""))
        told = {}
        for name, print_then in then.items():
            if name not in data or self._now.get(name, print_then) == print_then:
                continue
            typed = print_of(data[name])
            if typed == print_then:
                self._left_alone.add(name)
                data[name] = self.value_now(name)
            elif typed != self._now[name]:
                told[name] = self._now[name]
                theirs, other = self.value_now(name), "other" if _several(data[name]) else "another"
                self.add_error(
                    name,
                    f"Somebody saved {other} {self.called(name)} meanwhile: {_shown(theirs, data[name])}. "
                    "Yours is kept here and not saved yet; save once more to replace the other.",
                )
        if self.errors:
            # What was not told is compared again, with what the person has seen of it.
            data_again: Any = copy(self.data)
            data_again[self.add_prefix("seen")] = json.dumps({**then, **told})
            self.data = data_again
        return data


class SeenForm(SeenFields, _ModelForm):
    """`SeenFields` of a row."""

    def prints_now(self) -> dict[str, str]:
        return {} if self.instance._state.adding else self.prints(self.instance)

    def value_now(self, name: str) -> Any:
        value = getattr(self.instance, name)
        return list(value.all()) if self.instance._meta.get_field(name).many_to_many else value

    def prints(self, row: Model) -> dict[str, str]:
        """Field to hash of a row's present values; of what the person can change."""
        names = [name for name, field in self.fields.items() if name != "seen" and not field.disabled]
        return {name: print_of(value) for name, value in model_to_dict(row, names).items()}

    def check_unchanged(self, row: Model) -> None:
        """Raises ChangedMeanwhile when what is to be written was changed since the form looked at it."""
        prints = self.prints(row)
        if any(prints.get(name) != self._now.get(name) for name in self.changed_data):
            raise ChangedMeanwhile


def print_of(value: Any) -> str:
    """A short hash of a field's value; rows count by their keys, in no order."""
    if isinstance(value, Model):
        value = value.pk
    if _several(value):
        value = sorted(one.pk for one in value)
    if isinstance(value, str):
        value = value.replace("\r\n", "\n")
    if value in (None, ""):
        return ""
    text = json.dumps(value, sort_keys=True, default=str)
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:16]


def _several(value: Any) -> bool:
    """Whether these are rows, as a field of many has them."""
    return isinstance(value, QuerySet) or (
        isinstance(value, list) and bool(value) and isinstance(value[0], Model)
    )


def _parsed(text: str) -> dict[str, str]:
    """What the hidden field holds; nothing of one that was not made here."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return {str(name): str(then) for name, then in value.items()} if isinstance(value, dict) else {}


def _shown(value: Any, typed: Any) -> str:
    """The other's value; of many rows, what differs from those that were typed."""
    if _several(typed) or _several(value):
        more, less = [one for one in value if one not in typed], [one for one in typed if one not in value]
        parts = [f"with {_names(more)}" if more else "", f"without {_names(less)}" if less else ""]
        return f"{' and '.join(part for part in parts if part)}, compared with yours"
    if value in (None, ""):
        return "it is empty now"
    if isinstance(value, float):
        return f"{value:.15g}"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    text = " ".join(text.split())
    return f"“{text[:MOST_SHOWN]}{'…' if len(text) > MOST_SHOWN else ''}”"


def _names(rows: list[Any]) -> str:
    """ "“a”, “b” and 3 more"."""
    named = ", ".join(f"“{str(row)[:MOST_SHOWN]}”" for row in rows[:MOST_NAMED])
    return named if len(rows) <= MOST_NAMED else f"{named} and {len(rows) - MOST_NAMED} more"
