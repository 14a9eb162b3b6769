"""What pg_stat_statements had at earlier times: the counters from which a period is counted."""

from __future__ import annotations

from django.db import models


class QuerySnapshot(models.Model):
    """The counters of the costliest statements in one slot. `snapshots` writes and reads it.

    One row for each slot of ten minutes: two beats, or a task delivered twice, meet at the primary key.
    """

    taken_at = models.DateTimeField(primary_key=True)  #: the start of its slot
    read_at = models.DateTimeField()  #: when the counters were really read
    reset_at = models.DateTimeField(null=True)  #: of all statistics, as the server says
    evictions = models.BigIntegerField()  #: how often the server made room by forgetting statements
    known = models.IntegerField()  #: statements that the server had; more than `entries` when it was many
    entries = models.JSONField(help_text="queryid:userid → calls, ms, rows, blocks and bytes")

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"statements at {self.taken_at:%Y-%m-%d %H:%M}"
