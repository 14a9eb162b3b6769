from django.db import migrations, models
from django.db.models.functions import Now


class Migration(migrations.Migration):
    dependencies = [("database", "0002_query_snapshot")]

    operations = [
        migrations.CreateModel(
            name="PartitionArchive",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("file", models.TextField(unique=True)),
                ("partition", models.TextField()),
                ("first", models.DateTimeField()),
                ("until", models.DateTimeField()),
                ("rows", models.BigIntegerField()),
                ("bytes", models.BigIntegerField()),
                ("sha256", models.CharField(max_length=64)),
                ("details", models.BooleanField()),
                ("host", models.TextField(db_default="")),
                ("verified_at", models.DateTimeField(db_default=Now())),
                ("dropped_at", models.DateTimeField(null=True)),
            ],
            options={"default_permissions": ()},
        ),
        migrations.CreateModel(
            name="PartitionPolicy",
            fields=[
                (
                    "id",
                    models.SmallIntegerField(
                        db_default=1, default=1, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("keep_months", models.PositiveSmallIntegerField(null=True)),
                ("archive", models.BooleanField(db_default=True, default=True)),
                ("details", models.BooleanField(db_default=False, default=False)),
                ("changed_at", models.DateTimeField(db_default=Now())),
            ],
            options={
                "default_permissions": (),
                "constraints": [
                    models.CheckConstraint(condition=models.Q(("id", 1)), name="partition_policy_is_one"),
                    models.CheckConstraint(
                        condition=models.Q(("keep_months", None), ("keep_months__gte", 1), _connector="OR"),
                        name="partition_policy_keeps",
                    ),
                ],
            },
        ),
    ]
