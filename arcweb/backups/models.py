"""The catalogue of backups, as far as the database knows it. The manifests beside the files are the truth:
`arcweb.backups.catalogue` makes these rows from them again when the database is gone."""

from __future__ import annotations

import uuid
from typing import ClassVar

from django.contrib.postgres.functions import RandomUUID
from django.core.serializers.json import DjangoJSONEncoder
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from django.utils.functional import cached_property

from arcweb.backups.querysets import BackupQuerySet, installation


class Source(models.TextChoices):
    POSTGRES = "postgres", "PostgreSQL"
    CACHE = "redis-cache", "Redis cache"
    STATE = "redis-state", "Redis state"


class Format(models.TextChoices):
    CUSTOM = "custom", "custom dump"
    PLAIN = "plain", "SQL text, gzip"
    BASE = "base", "base backup"
    INCREMENTAL = "incremental", "incremental base backup"
    RDB = "rdb", "RDB snapshot"


class Backup(models.Model):
    """One copy. The ladder is written → hashed → verified; only the last one counts."""

    class State(models.TextChoices):
        RUNNING = "running"  # being taken: nothing stands under the final name
        WRITTEN = "written"  # whole under its final name
        HASHED = "hashed"  # read back from the disk or the store with the hash of its manifest
        VERIFIED = "verified"  # restored and compared
        BAD = "bad"  # found corrupt: kept, and counts no longer
        FAILED = "failed"  # not taken; `trouble` says why
        DELETED = "deleted"  # its files are gone; the row stays for the charts

    class Trigger(models.TextChoices):
        MANUAL = "manual"
        SCHEDULE = "schedule"
        SAFETY = "safety"  # before a restore
        FOUND = "found"  # a file that a scan or an upload brought

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, db_default=RandomUUID(), editable=False)
    source = models.TextField(choices=Source)
    format = models.TextField(choices=Format)
    #: {}: all; {"schema": "agents"}; {"agent": uuid, "name": name}.
    scope = models.JSONField(default=dict, db_default={})
    state = models.TextField(choices=State, db_default=State.RUNNING)
    trigger = models.TextField(choices=Trigger, db_default=Trigger.MANUAL)
    schedule = models.ForeignKey("Schedule", null=True, blank=True, on_delete=models.SET_NULL)
    parent = models.ForeignKey("self", null=True, blank=True, on_delete=models.SET_NULL)  # of an incremental
    job = models.UUIDField(null=True, blank=True)  # no foreign key: jobs are forgotten earlier
    actor_name = models.TextField(blank=True, db_default="")
    #: Whose it is: an installation's id; "": ours, from before there were such ids; "elsewhere": unknown.
    owner = models.TextField(blank=True, db_default="")

    file = models.TextField(blank=True, db_default="")  # its name in every place that holds it
    local = models.BooleanField(db_default=False)  # in ARC_BACKUP_DIR
    remote = models.BooleanField(db_default=False)  # in the S3-compatible store
    remote_trouble = models.TextField(blank=True, db_default="")
    bytes = models.BigIntegerField(null=True, blank=True)
    raw_bytes = models.BigIntegerField(null=True, blank=True)  # before compression
    sha256 = models.CharField(max_length=64, blank=True, db_default="")
    manifest_sha256 = models.CharField(max_length=64, blank=True, db_default="")
    encrypted = models.BooleanField(db_default=False)
    manifest = models.JSONField(null=True, blank=True, encoder=DjangoJSONEncoder)

    taken_at = models.DateTimeField(null=True, blank=True)  # the moment that it holds
    created_at = models.DateTimeField(db_default=Now())
    finished_at = models.DateTimeField(null=True, blank=True)
    hashed_at = models.DateTimeField(null=True, blank=True)
    verified_at = models.DateTimeField(null=True, blank=True)  # last success
    checked_at = models.DateTimeField(null=True, blank=True)  # last try, whatever came of it
    verify_seconds = models.FloatField(null=True, blank=True)
    #: The last try in numbers and words; see arcweb.backups.proving.
    check_result = models.JSONField(null=True, blank=True, encoder=DjangoJSONEncoder)
    trouble = models.TextField(blank=True, db_default="")
    pinned_at = models.DateTimeField(null=True, blank=True)
    pinned_by = models.TextField(blank=True, db_default="")
    pin_reason = models.TextField(blank=True, db_default="")
    deleted_at = models.DateTimeField(null=True, blank=True)
    delete_trouble = models.TextField(blank=True, db_default="")

    objects: ClassVar[BackupQuerySet] = BackupQuerySet.as_manager()  # type: ignore[assignment]

    class Meta:
        default_permissions = ("view",)
        permissions = [
            ("take_backup", "Can take a backup"),
            ("verify_backup", "Can verify a backup"),
            ("pin_backup", "Can pin a backup"),
            ("download_backup", "Can download a backup, which holds everything"),
            ("upload_backup", "Can upload a backup file"),
            ("delete_backup", "Can delete backups and run retention"),
            ("restore_backup", "Can restore, swap and undo"),
            ("change_retention", "Can change how long backups are kept"),
        ]
        constraints = [
            models.CheckConstraint(
                name="backup_state_known",
                condition=Q(
                    state__in=["running", "written", "hashed", "verified", "bad", "failed", "deleted"]
                ),
            ),
            models.CheckConstraint(
                name="backup_whole_when_written",
                condition=Q(state__in=["running", "failed", "bad", "deleted"])
                | (~Q(file="") & Q(bytes__gt=0, taken_at__isnull=False, manifest__isnull=False)),
            ),
            models.CheckConstraint(
                name="backup_verified_has_time", condition=~Q(state="verified") | Q(verified_at__isnull=False)
            ),
            models.UniqueConstraint(name="backup_file_once", fields=["file"], condition=~Q(file="")),
        ]
        indexes = [
            models.Index("created_at", "id", name="backup_newest"),
            models.Index("source", "taken_at", name="backup_restore_points", condition=Q(state="verified")),
        ]

    def __str__(self) -> str:
        return self.file or f"{self.get_source_display()} {self.get_format_display()}"

    @cached_property
    def elsewhere(self) -> bool:
        """Whether it is a copy of another installation: it can be proven and restored, and counts for nothing
        here. One query where the queryset has not said so (`marked`)."""
        return self.owner not in ("", installation())


class Schedule(models.Model):
    """When copies are taken. django-celery-beat keeps the time, in UTC; this says what is taken."""

    name = models.TextField(unique=True)
    source = models.TextField(choices=Source)
    format = models.TextField(choices=Format)
    scope = models.JSONField(default=dict, db_default={})
    cron = models.TextField()  # five fields, UTC
    enabled = models.BooleanField(db_default=True)
    verify = models.BooleanField(db_default=True)
    drill = models.BooleanField(db_default=False)  # takes nothing: verifies the oldest kept copy
    beat_task = models.OneToOneField(
        "django_celery_beat.PeriodicTask", null=True, blank=True, on_delete=models.SET_NULL
    )
    last_slot = models.DateTimeField(null=True, blank=True)  # the newest that was started: one run per slot
    created_at = models.DateTimeField(db_default=Now())
    changed_at = models.DateTimeField(db_default=Now())

    def __str__(self) -> str:
        return self.name


class Retention(models.Model):
    """The one row: how many verified copies of each source are kept. No row: the defaults of the fields."""

    id = models.SmallIntegerField(primary_key=True, default=1, db_default=1, editable=False)
    last = models.PositiveSmallIntegerField(default=7, db_default=7)
    daily = models.PositiveSmallIntegerField(default=7, db_default=7)
    weekly = models.PositiveSmallIntegerField(default=4, db_default=4)
    monthly = models.PositiveSmallIntegerField(default=12, db_default=12)
    yearly = models.PositiveSmallIntegerField(default=3, db_default=3)
    changed_at = models.DateTimeField(db_default=Now())

    class Meta:
        default_permissions = ()
        constraints = [
            models.CheckConstraint(name="retention_is_one", condition=Q(id=1)),
            models.CheckConstraint(name="retention_keeps_one", condition=Q(last__gte=1)),
        ]

    def __str__(self) -> str:
        return "retention of backups"


class DownloadLink(models.Model):
    """A one-time link to a copy. Only the hash of its token is kept."""

    token_sha256 = models.CharField(max_length=64, unique=True)
    backup = models.ForeignKey(Backup, on_delete=models.CASCADE)
    actor_name = models.TextField()
    user_id = models.BigIntegerField()  # whose link it is
    session_hash = models.TextField(blank=True, db_default="")  # of the login that asked for it
    created_at = models.DateTimeField(db_default=Now())
    expires_at = models.DateTimeField()  # moved on while bytes flow
    begun_at = models.DateTimeField(null=True, blank=True)  # first asked for; recorded then
    used_at = models.DateTimeField(null=True, blank=True)  # its last byte was sent

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"link to {self.backup_id}"
