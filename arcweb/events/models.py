"""Read-only models over the tables of schema events; the migrations own the tables.

`arcweb.events.record` writes. The tables are append-only by trigger; that holds against mistakes and
against other roles, not against the owner of the tables, who can drop a trigger: whoever needs proof
against the operator ships the rows to another machine.
"""

from __future__ import annotations

from typing import Any, NoReturn

from django.db import models

from arcweb.events.alerts.models import Alert, AlertSetting, AlertStanding, Delivery, Silence
from arcweb.events.querysets import EventQuerySet

__all__ = ["Alert", "AlertSetting", "AlertStanding", "Delivery", "Event", "EventDetail", "Silence"]


class Event(models.Model):
    """One fact. Partitioned by month on occurred_at."""

    pk = models.CompositePrimaryKey("occurred_at", "id")
    occurred_at = models.DateTimeField()
    id = models.BigIntegerField()
    kind = models.TextField(db_collation="C")
    actor_kind = models.TextField()
    actor_id = models.TextField()
    object_type = models.TextField()
    object_id = models.TextField()
    agent_id = models.UUIDField(null=True)
    data = models.JSONField()

    objects = EventQuerySet.as_manager()

    class Meta:
        db_table = '"events"."events"'
        default_permissions = ("view",)
        permissions = [
            ("export_event", "Can export events"),
            ("export_personal", "Can export the names and addresses of events"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} at {self.occurred_at:%Y-%m-%d %H:%M:%S}"

    def save(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise TypeError("Events are written by arcweb.events.record and never changed.")

    def delete(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise TypeError("Events are never deleted.")


class EventDetail(models.Model):
    """What may have to be erased about an event: names, addresses, text. Erasing the row leaves the fact."""

    pk = models.CompositePrimaryKey("occurred_at", "event_id")
    occurred_at = models.DateTimeField()
    event_id = models.BigIntegerField()
    actor_name = models.TextField()
    address = models.GenericIPAddressField(null=True)
    user_agent = models.TextField()
    label = models.TextField()
    note = models.TextField()

    class Meta:
        db_table = '"events"."event_details"'
        default_permissions = ()

    def __str__(self) -> str:
        return f"details of event {self.event_id}"
