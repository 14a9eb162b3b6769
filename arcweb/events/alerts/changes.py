"""What an operator changes: rules and silences. Each with its event, in one transaction."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db import connection, transaction
from django.db.models.functions import Now
from django.utils import timezone

from arcweb.alarms import Alarm
from arcweb.events import current_actor, record
from arcweb.events.alerts.evaluation import rule_of
from arcweb.events.alerts.models import AlertSetting, AlertStanding, Silence
from arcweb.events.alerts.rules import Rule, span
from arcweb.seen import ChangedMeanwhile

#: An alarm may be silent for so long at most; longer is switching it off, which the page shows as such.
LONGEST_SILENCE = timedelta(days=30)
#: One change of a rule at a time: its defaults leave no row that could be locked.
TURN = "SELECT pg_advisory_xact_lock(hashtextextended('arcweb.events.alert_rule.' || %s, 0))"


def set_rule(alarm: Alarm, *, threshold: float, lasting: int, off: bool, seen: Rule) -> bool:
    """Change the rule from the next look on; False when that is what it was. The defaults leave no row.

    seen: the rule that the person changed. Raises ChangedMeanwhile when it is no longer that.
    """
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute(TURN, [alarm.name])
        setting = AlertSetting.objects.select_for_update().filter(alarm=alarm.name).first()
        before = rule_of(alarm, setting)
        if before != seen:
            raise ChangedMeanwhile
        if (before.threshold, before.lasting, before.off) == (threshold, lasting, off):
            return False
        if (threshold, lasting, off) == (alarm.threshold, alarm.lasting, False):
            AlertSetting.objects.filter(alarm=alarm.name).delete()
        else:
            AlertSetting.objects.update_or_create(
                alarm=alarm.name,
                defaults={
                    "threshold": None if threshold == alarm.threshold else threshold,
                    "lasting": None if lasting == alarm.lasting else lasting,
                    "off": off,
                    "changed_at": Now(),
                    "changed_by": current_actor().name,
                },
            )
        # What was seen was measured by the old rule: the time begins anew.
        AlertStanding.objects.filter(alarm=alarm.name).update(beyond_since=None, within_since=None)
        record(
            "alert_rule.changed",
            object_type="events.alert",
            object_id=alarm.name,
            label=alarm.title,
            data={
                "before": _says(before),
                "after": _says(Rule(alarm, threshold, lasting, off)),
                "threshold": threshold,
                "lasting": lasting,
                "off": off,
            },
        )
    return True


def silence(alarm: Alarm, until: datetime, why: str = "") -> Silence:
    """Send nothing of that alarm until then; an earlier silence is replaced.

    Raises ValueError with a sentence for a time that is past or further than LONGEST_SILENCE.
    """
    now = timezone.now()
    if until <= now:
        raise ValueError("The end of the silence is past: choose a later time (UTC).")
    if until > now + LONGEST_SILENCE:
        raise ValueError(
            f"A silence lasts {LONGEST_SILENCE.days} days at most. To hear nothing for longer, switch the "
            "rule off."
        )
    with transaction.atomic():
        Silence.objects.active().filter(alarm=alarm.name).update(lifted_at=Now())
        made = Silence.objects.create(alarm=alarm.name, until=until, why=why, made_by=current_actor().name)
        record(
            "alert.silenced",
            object_type="events.alert",
            object_id=alarm.name,
            label=alarm.title,
            note=why,
            data={
                "until": until.isoformat(),
                "lasting": span(60 * round((until - now).total_seconds() / 60)),
            },
        )
    return made


def lift(alarm: Alarm) -> bool:
    """End the silence of that alarm now; False when there is none."""
    with transaction.atomic():
        if not Silence.objects.active().filter(alarm=alarm.name).update(lifted_at=Now()):
            return False
        record("alert.unsilenced", object_type="events.alert", object_id=alarm.name, label=alarm.title)
    return True


def _says(rule: Rule) -> str:
    return "off" if rule.off else rule.says
