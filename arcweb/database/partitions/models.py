"""How long events are kept, and the files that hold what was dropped."""

from __future__ import annotations

from django.db import models
from django.db.models.functions import Now


class PartitionPolicy(models.Model):
    """The one row: how long months of events.events stay. No row: everything is kept."""

    id = models.SmallIntegerField(primary_key=True, default=1, db_default=1, editable=False)
    keep_months = models.PositiveSmallIntegerField(null=True)  # beside the present one; null: all
    archive = models.BooleanField(default=True, db_default=True)
    details = models.BooleanField(default=False, db_default=False)
    changed_at = models.DateTimeField(db_default=Now())

    class Meta:
        app_label = "database"
        default_permissions = ()
        constraints = [
            models.CheckConstraint(name="partition_policy_is_one", condition=models.Q(id=1)),
            models.CheckConstraint(
                name="partition_policy_keeps",
                condition=models.Q(keep_months=None) | models.Q(keep_months__gte=1),
            ),
        ]

    def __str__(self) -> str:
        return "retention of events"


class PartitionArchive(models.Model):
    """A file that holds what a partition held. `dropped_at` empty: the partition still stands."""

    file = models.TextField(unique=True)  # its name in the folder of archives
    partition = models.TextField()
    first = models.DateTimeField()
    until = models.DateTimeField()
    rows = models.BigIntegerField()
    bytes = models.BigIntegerField()
    sha256 = models.CharField(max_length=64)
    details = models.BooleanField()
    host = models.TextField(db_default="")  # the machine whose folder it is
    verified_at = models.DateTimeField(db_default=Now())
    dropped_at = models.DateTimeField(null=True)

    class Meta:
        app_label = "database"
        default_permissions = ()

    def __str__(self) -> str:
        return self.file
