"""The one table of samples."""

from __future__ import annotations

from django.db import models
from django.db.models.functions import Now


class Sample(models.Model):
    """What one source had at one time. `arcweb.samples.taking` writes, `arcweb.samples.series` reads."""

    pk = models.CompositePrimaryKey("source", "taken_at")
    source = models.CharField(max_length=50)
    #: The start of its half minute: two beats, or a task delivered twice, make one row.
    taken_at = models.DateTimeField()
    #: When the figures were really read; rates are per second of this clock.
    read_at = models.DateTimeField(db_default=Now())
    values = models.JSONField(default=dict, help_text="name → number")

    class Meta:
        default_permissions = ("view",)

    def __str__(self) -> str:
        return f"{self.source} at {self.taken_at:%Y-%m-%d %H:%M:%S}"
