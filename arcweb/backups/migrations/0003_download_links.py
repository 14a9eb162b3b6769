"""A link to a copy belongs to one login, and is recorded when it is first used."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("backups", "0002_schedules")]

    operations = [
        migrations.AddField("downloadlink", "session_hash", models.TextField(blank=True, db_default="")),
        migrations.AddField("downloadlink", "begun_at", models.DateTimeField(blank=True, null=True)),
    ]
