"""A restore ends every session."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("accounts", "0001_sessions")]

    operations = [
        migrations.AlterField(
            model_name="usersession",
            name="ended_reason",
            field=models.CharField(
                blank=True,
                choices=[
                    ("logout", "logged out"),
                    ("replaced", "logged in again"),
                    ("revoked", "revoked"),
                    ("idle", "idle too long"),
                    ("expired", "reached its longest time"),
                    ("password", "password changed"),
                    ("deactivated", "account deactivated"),
                    ("restored", "a backup was restored"),
                ],
                db_default="",
                max_length=20,
            ),
        ),
    ]
