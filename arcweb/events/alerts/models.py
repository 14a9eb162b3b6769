"""What is kept about alerts. Changed by `evaluation`, `changes`, `deliveries` and `sending` only."""

from __future__ import annotations

import uuid
from datetime import datetime

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from django.urls import reverse

from arcweb.events.alerts.querysets import AlertQuerySet, DeliveryQuerySet, SilenceQuerySet


class AlertSetting(models.Model):
    """What an operator changed about an alarm; what is NULL is the alarm's default."""

    alarm = models.TextField(primary_key=True)
    threshold = models.FloatField(null=True)
    lasting = models.IntegerField(null=True, help_text="seconds")
    off = models.BooleanField(db_default=False)
    changed_at = models.DateTimeField(db_default=Now())
    changed_by = models.TextField(db_default="")

    class Meta:
        default_permissions = ()
        constraints = [
            models.CheckConstraint(
                name="alert_setting_lasting_possible", condition=Q(lasting=None) | Q(lasting__gte=0)
            )
        ]

    def __str__(self) -> str:
        return self.alarm


class AlertStanding(models.Model):
    """How an alarm was last found. `slot` is claimed by who evaluates: one evaluation for each slot."""

    alarm = models.TextField(primary_key=True)
    slot = models.DateTimeField()
    looked_at = models.DateTimeField(null=True)
    #: NULL: not known, and `trouble` says why.
    value = models.FloatField(null=True)
    sentence = models.TextField(db_default="")
    trouble = models.TextField(db_default="")
    #: Since when without a gap it was found at or beyond the threshold, or within it; at most one is set.
    beyond_since = models.DateTimeField(null=True)
    within_since = models.DateTimeField(null=True)

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return self.alarm


class Alert(models.Model):
    """One time that an alarm fired. Words and numbers are those of the time: a rule may change, or go."""

    class State(models.TextChoices):
        FIRING = "firing"
        ENDED = "ended"

    id = models.BigAutoField(primary_key=True)
    alarm = models.TextField()
    title = models.TextField()
    room = models.TextField()
    unit = models.TextField()
    severity = models.TextField()
    fires = models.TextField()
    threshold = models.FloatField()
    state = models.TextField(choices=State, db_default=State.FIRING)
    since = models.DateTimeField()
    fired_at = models.DateTimeField(db_default=Now())
    ended_at = models.DateTimeField(null=True)
    #: "": it was over; else what ended it.
    ended_by = models.TextField(db_default="")
    value = models.FloatField()
    worst = models.FloatField()
    sentence = models.TextField()

    objects = AlertQuerySet.as_manager()

    class Meta:
        default_permissions = ("view", "change")
        constraints = [
            models.UniqueConstraint(name="alert_one_firing", fields=["alarm"], condition=Q(state="firing")),
            models.CheckConstraint(
                name="alert_ended_or_firing",
                condition=Q(state="firing", ended_at=None) | Q(state="ended", ended_at__isnull=False),
            ),
        ]
        indexes = [
            models.Index("fired_at", "id", name="alert_newest"),
            models.Index("alarm", "fired_at", "id", name="alert_of_alarm"),
        ]

    def __str__(self) -> str:
        return self.title

    def get_absolute_url(self) -> str:
        return reverse("admin:events_alert_change", args=[self.alarm])


class Silence(models.Model):
    """Until when an alarm is not sent, by whom and why. A firing alert stays on the pages, as silenced."""

    id = models.BigAutoField(primary_key=True)
    alarm = models.TextField()
    until = models.DateTimeField()
    why = models.TextField(db_default="")
    made_at = models.DateTimeField(db_default=Now())
    made_by = models.TextField(db_default="")
    lifted_at = models.DateTimeField(null=True)

    objects = SilenceQuerySet.as_manager()

    class Meta:
        default_permissions = ()
        indexes = [models.Index(name="silence_unlifted", fields=["until"], condition=Q(lifted_at=None))]

    def __str__(self) -> str:
        return f"{self.alarm} until {self.until:%Y-%m-%d %H:%M}"


class Delivery(models.Model):
    """One message to one channel. Its id is in the message: a receiver that gets it twice can tell."""

    class Kind(models.TextChoices):
        FIRING = "firing"
        ENDED = "ended"
        TEST = "test"

    class State(models.TextChoices):
        WAITING = "waiting"
        SENT = "sent"
        FAILED = "failed"  # given up

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    alert = models.ForeignKey(Alert, models.CASCADE, null=True, related_name="deliveries")
    kind = models.TextField(choices=Kind)
    #: `channels.Channel.name`; holds no address and no secret.
    channel = models.TextField()
    message = models.JSONField()
    state = models.TextField(choices=State, db_default=State.WAITING)
    attempts = models.IntegerField(db_default=0)
    last_error = models.TextField(db_default="")
    created_at = models.DateTimeField(db_default=Now())
    next_try_at = models.DateTimeField(db_default=Now())
    #: Whoever sends it has it until then; a sender that died leaves it to the next.
    claimed_until = models.DateTimeField(null=True)
    ended_at = models.DateTimeField(null=True)

    objects = DeliveryQuerySet.as_manager()

    class Meta:
        default_permissions = ()
        constraints = [
            models.UniqueConstraint(
                name="delivery_once", fields=["alert", "kind", "channel"], condition=Q(alert__isnull=False)
            )
        ]
        indexes = [
            models.Index(name="delivery_due", fields=["next_try_at"], condition=Q(state="waiting")),
            models.Index("channel", "created_at", name="delivery_of_channel"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} to {self.channel}"

    @property
    def at(self) -> datetime:
        """When its state began to be what it is."""
        return self.ended_at or self.created_at
