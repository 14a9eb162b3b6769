"""The forms in which an element of a collection is written."""

from __future__ import annotations

import math
from typing import Any

from django import forms
from django.core.exceptions import ValidationError

from cache_admin.keys import escapes
from cache_admin.keys.edit import LONGEST_TTL
from cache_admin.keys.elements import LARGEST
from cache_admin.masking import is_session

#: For each type the fields of a form that adds an element, and of one that changes it.
FIELDS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "hash": (("field", "value"), ("value",)),
    "list": (("value", "end"), ("value",)),
    "set": (("member",), ()),
    "zset": (("member", "score"), ("score",)),
    "stream": (("pairs",), ()),
}
WORDS = {
    "hash": "field",
    "list": "element",
    "set": "member",
    "zset": "member",
    "stream": "entry",
}
ESCAPES = r"\xff for a byte, \n, \r, \t, and \\ for a backslash"
PLAIN = {"class": "field mono", "autocomplete": "off", "spellcheck": "false", "autocapitalize": "off"}


def _line(label: str) -> forms.CharField:
    return forms.CharField(
        required=False, strip=False, max_length=LARGEST, label=label, widget=forms.TextInput(attrs=PLAIN)
    )


def _text(label: str, rows: int, help_text: str = "") -> forms.CharField:
    return forms.CharField(
        required=False,
        strip=False,
        label=label,
        help_text=help_text,
        widget=forms.Textarea(attrs={**PLAIN, "rows": rows}),
    )


def _fields() -> dict[str, forms.Field]:
    return {
        "field": _line("Field"),
        "member": _line("Member"),
        "value": _text("Value", 4),
        "pairs": _text("Fields", 4, "One name=value a line; the server gives the entry its id."),
        "score": forms.CharField(
            max_length=40, label="Score", widget=forms.TextInput(attrs={**PLAIN, "inputmode": "decimal"})
        ),
        "end": forms.ChoiceField(
            label="Where",
            choices=[("last", "at the end (RPUSH)"), ("first", "at the beginning (LPUSH)")],
            widget=forms.Select(attrs={"class": "field"}),
        ),
    }


class ElementForm(forms.Form):
    """One element of a collection of that kind; `change`: of one that is there, else a new one.

    Cleaned, `field`, `member` and `value` are bytes, `pairs` a list of pairs of bytes, `score` the digits
    of a float.
    """

    escaped = forms.BooleanField(required=False, label="With escapes", help_text=ESCAPES)
    read = forms.RegexField(r"^[0-9a-z.+-]{0,40}$", required=False, widget=forms.HiddenInput)
    lived = forms.CharField(required=False, max_length=12, widget=forms.HiddenInput)

    def __init__(self, data: Any = None, *, kind: str, change: bool = False, **more: Any) -> None:
        super().__init__(data, auto_id="id_element_%s" if change else "id_new_%s", **more)
        every = _fields()
        self.kind = kind
        self.names = FIELDS[kind][change]
        self.fields = {
            **{name: every[name] for name in self.names},
            **self.fields,
        }
        if not {"field", "member", "value", "pairs"} & set(self.names):
            del self.fields["escaped"]

    def entries(self) -> list[forms.BoundField]:
        """The fields that are shown, in their order, but `escaped`."""
        return [self[name] for name in self.names]

    def clean_score(self) -> str:
        try:
            score = float(self.cleaned_data["score"].strip())
        except ValueError:
            score = math.nan
        if math.isnan(score):
            raise ValidationError("A score is a number: 12, -0.5, 1e6, inf.")
        return f"{score:.17g}"

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = dict(self.cleaned_data)
        escaped = bool(cleaned.get("escaped"))
        for name in {"field", "member", "value"} & set(self.names):
            if name in cleaned:
                try:
                    cleaned[name] = self._bytes(cleaned[name], escaped)
                except ValueError as error:
                    self.add_error(name, str(error))
        if "pairs" in cleaned:
            try:
                cleaned["pairs"] = self._pairs(cleaned["pairs"], escaped)
            except ValueError as error:
                self.add_error("pairs", str(error))
        return cleaned

    def _bytes(self, text: str, escaped: bool) -> bytes:
        raw = escapes.read(text.replace("\r\n", "\n"), escaped=escaped)
        if len(raw) > LARGEST:
            raise ValueError(f"An element that is written here has {LARGEST:,} bytes at most.")
        if is_session(raw):
            raise ValueError("That is the name of a session: a credential, which is not written here.")
        return raw

    def _pairs(self, text: str, escaped: bool) -> list[tuple[bytes, bytes]]:
        pairs = []
        for line in text.replace("\r\n", "\n").split("\n"):
            if line:
                name, equals, content = line.partition("=")
                if not equals:
                    raise ValueError(f"The line {line[:40]!r} has no =: write name=value.")
                pairs.append((self._bytes(name, escaped), self._bytes(content, escaped)))
        if not 0 < len(pairs) <= 500:
            raise ValueError("An entry has from 1 to 500 fields, one name=value a line.")
        return pairs


class AnewForm(forms.Form):
    """How long a key lives that is made anew."""

    seconds = forms.IntegerField(
        required=False,
        min_value=1,
        max_value=LONGEST_TTL,
        label="Expires in (seconds)",
        help_text="Empty: it lives until it is deleted.",
        widget=forms.NumberInput(attrs={"class": "field"}),
    )
