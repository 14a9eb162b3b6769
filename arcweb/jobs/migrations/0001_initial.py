"""The ledger's table."""

import uuid

import django.contrib.postgres.functions
import django.core.serializers.json
import django.db.models.functions.datetime
from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        migrations.CreateModel(
            name="Job",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        db_default=django.contrib.postgres.functions.RandomUUID(),
                        default=uuid.uuid4,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("kind", models.TextField()),
                ("title", models.TextField(blank=True, db_default="")),
                ("target", models.TextField(blank=True, db_default="")),
                ("target_url", models.TextField(blank=True, db_default="")),
                (
                    "params",
                    models.JSONField(
                        db_default={}, default=dict, encoder=django.core.serializers.json.DjangoJSONEncoder
                    ),
                ),
                ("actor_kind", models.TextField(db_default="system")),
                ("actor_id", models.TextField(blank=True, db_default="")),
                ("actor_name", models.TextField(blank=True, db_default="")),
                (
                    "state",
                    models.TextField(
                        choices=[
                            ("queued", "Queued"),
                            ("running", "Running"),
                            ("succeeded", "Succeeded"),
                            ("failed", "Failed"),
                            ("cancelled", "Cancelled"),
                            ("interrupted", "Interrupted"),
                        ],
                        db_default="queued",
                    ),
                ),
                ("done", models.BigIntegerField(db_default=0)),
                ("total", models.BigIntegerField(blank=True, null=True)),
                ("unit", models.TextField(blank=True, db_default="")),
                ("rate", models.FloatField(blank=True, null=True)),
                ("message", models.TextField(blank=True, db_default="")),
                ("progressed_at", models.DateTimeField(blank=True, null=True)),
                (
                    "result",
                    models.JSONField(
                        blank=True, encoder=django.core.serializers.json.DjangoJSONEncoder, null=True
                    ),
                ),
                ("last_error", models.TextField(blank=True, db_default="")),
                ("attempts", models.IntegerField(db_default=0)),
                ("max_attempts", models.IntegerField(db_default=3)),
                ("claim", models.UUIDField(blank=True, null=True)),
                ("heartbeat_at", models.DateTimeField(blank=True, null=True)),
                ("cancel_requested_at", models.DateTimeField(blank=True, null=True)),
                ("next_retry_at", models.DateTimeField(blank=True, null=True)),
                ("queued_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ("sent_at", models.DateTimeField(blank=True, null=True)),
                ("unique_key", models.TextField(blank=True, db_default="")),
                ("created_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ("started_at", models.DateTimeField(blank=True, null=True)),
                ("finished_at", models.DateTimeField(blank=True, null=True)),
            ],
            options={
                "permissions": [("cancel_job", "Can cancel job"), ("retry_job", "Can retry job")],
                "default_permissions": ("view",),
                "indexes": [
                    models.Index(
                        condition=models.Q(("state", "queued")), fields=["queued_at"], name="job_queued"
                    ),
                    models.Index(condition=models.Q(("state", "running")), fields=["id"], name="job_running"),
                    models.Index(models.F("created_at"), models.F("id"), name="job_newest"),
                    models.Index(models.F("state"), models.F("created_at"), name="job_by_state"),
                    models.Index(models.F("kind"), models.F("created_at"), name="job_by_kind"),
                    models.Index(
                        models.F("unique_key"),
                        models.F("created_at"),
                        condition=models.Q(("unique_key", ""), _negated=True),
                        name="job_by_unique_key",
                    ),
                ],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            (
                                "state__in",
                                ["queued", "running", "succeeded", "failed", "cancelled", "interrupted"],
                            )
                        ),
                        name="job_state_known",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("actor_kind__in", ["user", "system", "service"])),
                        name="job_actor_kind_known",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("kind", ""), _negated=True), name="job_kind_named"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("done__gte", 0), models.Q(("total", None), ("total__gte", 0), _connector="OR")
                        ),
                        name="job_progress_possible",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("attempts__gte", 0), ("max_attempts__gte", 1)),
                        name="job_attempts_possible",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(
                                ("claim__isnull", False),
                                ("heartbeat_at__isnull", False),
                                ("state", "running"),
                            ),
                            models.Q(models.Q(("state", "running"), _negated=True), ("claim", None)),
                            _connector="OR",
                        ),
                        name="job_claimed_while_running",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("finished_at", None), ("state__in", ["queued", "running"])),
                            models.Q(
                                models.Q(("state__in", ["queued", "running"]), _negated=True),
                                ("finished_at__isnull", False),
                            ),
                            _connector="OR",
                        ),
                        name="job_finished_when_ended",
                    ),
                    models.UniqueConstraint(
                        condition=models.Q(
                            ("state__in", ["queued", "running"]), models.Q(("unique_key", ""), _negated=True)
                        ),
                        fields=("unique_key",),
                        name="job_unique_key_while_active",
                    ),
                ],
            },
        ),
    ]
