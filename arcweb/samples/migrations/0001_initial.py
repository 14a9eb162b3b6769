"""The table of samples: figures of the stack, every half minute."""

import django.db.models.functions.datetime
from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True
    dependencies = []

    operations = [
        migrations.CreateModel(
            name="Sample",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "source", "taken_at", blank=True, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("source", models.CharField(max_length=50)),
                ("taken_at", models.DateTimeField()),
                ("read_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ("values", models.JSONField(default=dict, help_text="name → number")),
            ],
            options={"default_permissions": ("view",)},
        ),
    ]
