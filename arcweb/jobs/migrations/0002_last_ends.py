"""An index for the jobs of a kind that ended last: `arcweb.jobs.pacing` asks every few seconds."""

from django.db import migrations, models
from django.db.models import Q


class Migration(migrations.Migration):
    dependencies = [("jobs", "0001_initial")]

    operations = [
        migrations.AddIndex(
            model_name="job",
            index=models.Index(
                models.F("kind"),
                models.F("finished_at"),
                name="job_last_ends",
                condition=Q(finished_at__isnull=False),
            ),
        ),
    ]
