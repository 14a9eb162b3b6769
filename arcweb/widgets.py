"""Widgets of the project's forms."""

from __future__ import annotations

from typing import Any

from django import forms


class JSONEditor(forms.Textarea):
    """A textarea for a JSON object that is checked as one types, and set out on request, by a script.

    Without JavaScript it is a plain textarea; the form's field judges in any case.
    """

    def __init__(self, attrs: dict[str, Any] | None = None) -> None:
        usual = {"rows": 12, "spellcheck": "false", "autocomplete": "off", "class": "mono", "data-json": ""}
        super().__init__({**usual, **(attrs or {})})

    class Media:
        css = {"all": ["arcweb/records.css"]}
        js = ["arcweb/json_editor.js"]
