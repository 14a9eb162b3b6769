"""The table of snapshots of pg_stat_statements."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("database", "0001_permissions")]

    operations = [
        migrations.CreateModel(
            name="QuerySnapshot",
            fields=[
                ("taken_at", models.DateTimeField(primary_key=True, serialize=False)),
                ("read_at", models.DateTimeField()),
                ("reset_at", models.DateTimeField(null=True)),
                ("evictions", models.BigIntegerField()),
                ("known", models.IntegerField()),
                ("entries", models.JSONField(help_text="queryid:userid → calls, ms, rows, blocks and bytes")),
            ],
            options={"default_permissions": ()},
        ),
    ]
