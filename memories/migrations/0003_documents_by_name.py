"""The order in which the palette offers documents: a beginning that many share needs no sort of them all."""

from django.db import migrations, models

FORWARDS = "CREATE INDEX idx_documents_name ON agents.documents (name, id);"
BACKWARDS = "DROP INDEX agents.idx_documents_name;"


class Migration(migrations.Migration):
    dependencies = [("memories", "0002_lists_in_order")]

    operations = [
        migrations.RunSQL(
            FORWARDS,
            BACKWARDS,
            state_operations=[
                migrations.AddIndex(
                    "document", models.Index(fields=["name", "id"], name="idx_documents_name")
                ),
            ],
        ),
    ]
