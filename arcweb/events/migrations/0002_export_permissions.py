from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("events", "0001_initial")]

    operations = [
        migrations.AlterModelOptions(
            name="event",
            options={
                "default_permissions": ("view",),
                "permissions": [
                    ("export_event", "Can export events"),
                    ("export_personal", "Can export the names and addresses of events"),
                ],
            },
        ),
    ]
