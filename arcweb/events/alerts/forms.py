"""Forms of the alert pages."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils import timezone

from arcweb.events.alerts.rules import LONGEST, SHORTEST, Rule, measure, span
from arcweb.seen import SeenFields, print_of

#: What one click silences for.
SPANS = {"1h": timedelta(hours=1), "8h": timedelta(hours=8), "1d": timedelta(days=1)}
SPAN_WORDS = {name: span(length.total_seconds()) for name, length in SPANS.items()}
LARGEST = 1e15


def _number(**attrs: str) -> forms.NumberInput:
    return forms.NumberInput(attrs={"class": "field", "autocomplete": "off", **attrs})


class RuleForm(SeenFields):
    """A rule's threshold, how long it must hold, and whether it is off."""

    threshold = forms.FloatField(widget=_number(step="any"))
    lasting = forms.IntegerField(
        label="For so many seconds",
        min_value=SHORTEST,
        max_value=LONGEST,
        widget=_number(),
        help_text="It must hold so long before it fires, and be over so long before the all-clear.",
    )
    off = forms.BooleanField(label="Switched off: not looked at", required=False)

    def __init__(self, rule: Rule, data: Any = None) -> None:
        self.rule = rule
        shown = f"{rule.threshold:.15g}"
        self._values = {"threshold": float(shown), "lasting": rule.lasting, "off": rule.off}
        super().__init__(data, initial={**self._values, "threshold": shown})
        alarm = rule.alarm
        self.fields["threshold"].label = f"Fires {alarm.fires}" + (f", in {alarm.unit}" if alarm.unit else "")
        self.fields["threshold"].help_text = f"Default: {measure(alarm.threshold, alarm.unit)}."
        self.fields["lasting"].help_text += f" Default: {span(alarm.lasting)}."

    def prints_now(self) -> dict[str, str]:
        return {name: print_of(value) for name, value in self._values.items()}

    def value_now(self, name: str) -> Any:
        return self._values[name]

    def called(self, name: str) -> str:
        return {"threshold": "threshold", "lasting": "number of seconds"}.get(name, name)

    def clean_threshold(self) -> float:
        value: float = self.cleaned_data["threshold"]
        unit = self.rule.alarm.unit
        if not math.isfinite(value) or abs(value) > LARGEST:
            raise ValidationError("This is too large for a threshold.")
        if value < 0:
            raise ValidationError("A threshold is 0 or more.")
        if unit == "%" and value > 100:
            raise ValidationError("A share is from 0 to 100 %.")
        return value


class SilenceForm(forms.Form):
    """One of SPANS, or "until" with a time."""

    span = forms.ChoiceField(choices=[(name, name) for name in (*SPANS, "until")])
    until = forms.DateTimeField(
        required=False,
        label="Until",
        input_formats=["%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M"],
        widget=forms.DateTimeInput(
            attrs={"type": "datetime-local", "class": "field"}, format="%Y-%m-%dT%H:%M"
        ),
        help_text="In UTC.",
    )
    why = forms.CharField(
        required=False,
        max_length=200,
        label="Why",
        help_text="Others read it on this page, and in the event.",
        widget=forms.TextInput(attrs={"class": "field", "autocomplete": "off", "maxlength": "200"}),
    )

    def end(self) -> datetime:
        """When the silence that a valid form asks for ends."""
        chosen = self.cleaned_data
        now = timezone.now()
        if chosen["span"] in SPANS:
            return now + SPANS[chosen["span"]]
        return chosen["until"].replace(tzinfo=UTC)

    def clean(self) -> dict[str, Any]:
        chosen = super().clean() or self.cleaned_data
        if chosen.get("span") == "until" and not chosen.get("until") and "until" not in self.errors:
            raise ValidationError({"until": "Say until when, such as 2026-05-01 08:00."})
        return chosen
