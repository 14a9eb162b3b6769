"""Form fields that refuse what PostgreSQL would refuse, with a sentence."""

from __future__ import annotations

import json
from typing import Any

from django import forms
from django.core.exceptions import ValidationError

#: Bytes of text; a larger configuration or metadata object is somebody's mistake.
LONGEST_JSON = 256 * 1024
LONGEST_NUMBER = 1000


def parse_json_object(text: str) -> dict[str, Any]:
    """The JSON object in `text`, fit for a jsonb column. Raises ValueError with a sentence.

    Stricter than json.loads: an object at the top, no NaN or Infinity, no zero or half characters.
    """
    if len(text.encode("utf-8", "replace")) > LONGEST_JSON:
        raise ValueError(f"The JSON is longer than {LONGEST_JSON // 1024} kB.")

    def refuse(name: str) -> None:
        raise ValueError(f"{name} is not JSON; use null or a number.")

    def whole_number(digits: str) -> int:
        if len(digits) > LONGEST_NUMBER:
            raise ValueError(f"The JSON holds a number of more than {LONGEST_NUMBER} digits.")
        return int(digits)

    try:
        value = json.loads(text, parse_constant=refuse, parse_int=whole_number)
        # PostgreSQL's jsonb takes neither; ensure_ascii=False would raise on the second only when encoded.
        plain = json.dumps(value, ensure_ascii=False, allow_nan=False)
        plain.encode()
    except json.JSONDecodeError as error:
        raise ValueError(
            f"This is not JSON: {error.msg} at line {error.lineno}, column {error.colno}."
        ) from error
    except RecursionError as error:
        raise ValueError("The JSON is nested too deeply.") from error
    except UnicodeEncodeError as error:
        raise ValueError("The JSON holds half characters (\\ud800 to \\udfff alone).") from error
    except ValueError as error:
        if "Out of range float" in str(error):
            raise ValueError("The JSON holds a number that is too large.") from error
        raise
    if "\\u0000" in plain:
        raise ValueError("The JSON holds a zero character (\\u0000), which PostgreSQL cannot store.")
    if not isinstance(value, dict):
        raise ValueError('The JSON must be an object, such as {"model": "any"}.')
    return value


class JSONObjectField(forms.JSONField):
    """A JSON object or nothing; keeps what was typed when it is wrong."""

    def __init__(self, **kwargs: Any) -> None:
        kwargs.setdefault("widget", forms.Textarea(attrs={"rows": 8, "cols": 60, "spellcheck": "false"}))
        kwargs.setdefault("required", False)
        super().__init__(**kwargs)

    def to_python(self, value: Any) -> Any:
        if value in self.empty_values or (isinstance(value, str) and not value.strip()):
            return None
        if isinstance(value, dict):
            return value
        try:
            return parse_json_object(str(value))
        except ValueError as error:
            raise ValidationError(str(error), code="invalid") from error

    def bound_data(self, data: Any, initial: Any) -> Any:
        """What was typed comes back as it was: Django's own parses it, and fails on deep nesting."""
        if data is None:
            return None
        try:
            return parse_json_object(data)
        except ValueError:
            return forms.fields.InvalidJSONInput(data)

    def has_changed(self, initial: Any, data: Any) -> bool:
        try:
            return bool(self.to_python(data) != initial)
        except ValidationError:
            return True

    def prepare_value(self, value: Any) -> str:
        if value is None:
            return ""
        if isinstance(value, forms.fields.InvalidJSONInput):
            return str(value)
        return json.dumps(value, indent=2, ensure_ascii=False)
