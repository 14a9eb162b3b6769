"""What people choose for a schedule."""

from __future__ import annotations

from typing import Any

from django import forms

from arcweb.backups.models import Schedule
from arcweb.backups.pages.forms import KINDS
from arcweb.backups.schedules import slots

#: What a schedule may take: all but one agent.
CHOICES = {key: words for key, words in KINDS.items() if key != "agent"}
DRILL = "drill"


class ScheduleForm(forms.Form):
    name = forms.CharField(
        max_length=80, label="Name", widget=forms.TextInput(attrs={"class": "field", "autocomplete": "off"})
    )
    what = forms.ChoiceField(
        label="What",
        choices=[
            *((key, words[0]) for key, words in CHOICES.items()),
            (DRILL, "Drill: prove the oldest kept copy of each source again"),
        ],
        widget=forms.Select(attrs={"class": "field"}),
    )
    cron = forms.CharField(
        max_length=100,
        label="When, in UTC",
        help_text="Minute, hour, day of the month, month, weekday (0 is Sunday). Every day at 02:15: "
        "15 2 * * * · every six hours: 0 */6 * * * · Sundays at 04:00: 0 4 * * 0",
        widget=forms.TextInput(attrs={"class": "field mono", "spellcheck": "false", "autocomplete": "off"}),
    )
    verify = forms.BooleanField(
        required=False, initial=True, label="Prove each copy afterwards, by restoring it"
    )
    enabled = forms.BooleanField(required=False, initial=True, label="On")
    seen = forms.CharField(required=False, widget=forms.HiddenInput)

    def __init__(self, *args: Any, schedule: Schedule | None = None, **kwargs: Any) -> None:
        self.schedule = schedule or Schedule()
        if schedule is not None:
            kwargs.setdefault("initial", _initial(schedule))
        super().__init__(*args, **kwargs)

    def clean_cron(self) -> str:
        try:
            return slots.parse(self.cleaned_data["cron"]).text
        except slots.BadCron as error:
            raise forms.ValidationError(str(error)) from None

    def clean_name(self) -> str:
        name: str = self.cleaned_data["name"]
        if Schedule.objects.filter(name=name).exclude(pk=self.schedule.pk).exists():
            raise forms.ValidationError("Another schedule has this name.")
        return name

    def clean(self) -> dict[str, Any]:
        chosen = super().clean() or self.cleaned_data
        if self.schedule.pk and chosen.get("seen") != self.schedule.changed_at.isoformat():
            self.data = {**self.data.dict(), "seen": self.schedule.changed_at.isoformat()}  # type: ignore[attr-defined]
            raise forms.ValidationError(
                f"Somebody changed this schedule meanwhile: it runs at {self.schedule.cron} and is "
                f"{'on' if self.schedule.enabled else 'off'}. Save once more to replace that."
            )
        return chosen

    def chosen(self) -> Schedule:
        """The schedule with what was typed, not yet saved; only of a valid form."""
        schedule, data = self.schedule, self.cleaned_data
        schedule.name, schedule.cron, schedule.enabled = data["name"], data["cron"], data["enabled"]
        schedule.verify, schedule.drill = data["verify"], data["what"] == DRILL
        _, source, format_, scope = CHOICES["database" if schedule.drill else data["what"]]
        schedule.source, schedule.format, schedule.scope = source, format_, dict(scope)
        return schedule


def what_of(schedule: Schedule) -> str:
    """The choice that it is: a key of CHOICES, or DRILL."""
    if schedule.drill:
        return DRILL
    for key, (_, source, format_, scope) in CHOICES.items():
        if (schedule.source, schedule.format, schedule.scope) == (source, format_, scope):
            return key
    return "database"


def _initial(schedule: Schedule) -> dict[str, Any]:
    return {
        "name": schedule.name,
        "what": what_of(schedule),
        "cron": schedule.cron,
        "verify": schedule.verify,
        "enabled": schedule.enabled,
        "seen": schedule.changed_at.isoformat() if schedule.pk else "",
    }
