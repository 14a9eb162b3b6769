"""What operators choose about a restore to a time."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from django import forms


class TimeForm(forms.Form):
    """A moment, in UTC as every time on the page."""

    moment = forms.DateTimeField(
        label="Go back to (UTC)",
        input_formats=["%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M"],
        widget=forms.DateTimeInput(attrs={"type": "datetime-local", "step": "1"}, format="%Y-%m-%dT%H:%M:%S"),
    )

    def clean_moment(self) -> datetime:
        found: Any = self.cleaned_data["moment"]
        return found.replace(tzinfo=UTC) if isinstance(found, datetime) else found


__all__ = ["TimeForm"]
