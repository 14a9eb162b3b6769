"""What operators type about partitions."""

from __future__ import annotations

from typing import Any

from django import forms

from arcweb.database.partitions.retention import Policy

#: Months; more than any table of this kind lives.
LONGEST = 240


def _number() -> forms.NumberInput:
    return forms.NumberInput(attrs={"class": "field", "min": 1, "max": LONGEST, "placeholder": "all"})


class PolicyForm(forms.Form):
    """An empty number keeps everything."""

    keep = forms.IntegerField(
        required=False,
        min_value=1,
        max_value=LONGEST,
        label="Full months kept",
        help_text="Beside the present one. Empty: everything is kept, for good.",
        widget=_number(),
    )
    archive = forms.BooleanField(required=False, label="Write an archive file before a month is dropped")
    details = forms.BooleanField(
        required=False, label="With names, addresses and notes in the file, where nobody can erase them"
    )

    @classmethod
    def of(cls, chosen: Policy) -> PolicyForm:
        return cls({"keep": chosen.keep_months, "archive": chosen.archive, "details": chosen.details})

    def clean(self) -> dict[str, Any]:
        chosen = super().clean() or self.cleaned_data
        chosen["details"] = bool(chosen.get("details") and chosen.get("archive"))
        return chosen

    def policy(self) -> Policy:
        """What was typed; only of a valid form."""
        chosen = self.cleaned_data
        return Policy(chosen["keep"], chosen["archive"], chosen["details"])
