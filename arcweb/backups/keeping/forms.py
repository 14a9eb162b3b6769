"""What people say about what is kept."""

from __future__ import annotations

from django import forms

from arcweb.backups.keeping.pins import LONGEST
from arcweb.backups.models import Retention
from arcweb.backups.retention import Policy
from arcweb.seen import SeenForm

#: A year of days; more copies than that are no policy.
MOST = 400
LABELS = {
    "last": "Last",
    "daily": "Daily",
    "weekly": "Weekly",
    "monthly": "Monthly",
    "yearly": "Yearly",
}
HELP = {
    "last": "The newest, whenever they were taken.",
    "daily": "The newest of each day that has one.",
    "weekly": "The newest of each week, from Monday.",
    "monthly": "The newest of each month.",
    "yearly": "The newest of each year.",
}


class RetentionForm(SeenForm):
    class Meta:
        model = Retention
        fields = list(LABELS)
        labels = LABELS
        help_texts = HELP
        widgets = {
            name: forms.NumberInput(attrs={"class": "field", "min": int(name == "last"), "max": MOST})
            for name in LABELS
        }

    def clean(self) -> dict[str, int]:
        chosen: dict[str, int] = super().clean()
        for name in LABELS:
            number = chosen.get(name)
            if number is not None and number > MOST:
                self.add_error(name, f"{MOST} are the most that can be kept.")
        if chosen.get("last") == 0:
            self.add_error("last", "One is the least: the last proven copy always stays.")
        return chosen

    def policy(self) -> Policy:
        """What was typed; only of a valid form."""
        return Policy(**{name: self.cleaned_data[name] for name in LABELS})


class PinForm(forms.Form):
    reason = forms.CharField(
        max_length=LONGEST,
        label="Why it stays",
        help_text="For whoever wonders in a year: before the upgrade, for the audit.",
        widget=forms.TextInput(attrs={"class": "field", "size": 50, "autocomplete": "off"}),
    )
