"""Indexes that give the list of agents its orders, whatever is filtered, and find names as one types."""

import django.contrib.postgres.indexes
import django.db.models.functions.text
from django.db import migrations, models

# idx_agents_type keeps its name and leading column, which are the seed's.
FORWARDS = """
DROP INDEX agents.idx_agents_type;
CREATE INDEX idx_agents_type ON agents.agents (type, name, id);
CREATE INDEX idx_agents_type_created_at ON agents.agents (type, created_at, id);
CREATE INDEX idx_agents_name ON agents.agents (name, id);
CREATE INDEX idx_agents_created_at ON agents.agents (created_at, id);
CREATE INDEX idx_agents_name_begins ON agents.agents (upper(name) text_pattern_ops);
"""
BACKWARDS = """
DROP INDEX agents.idx_agents_type;
DROP INDEX agents.idx_agents_type_created_at;
DROP INDEX agents.idx_agents_name;
DROP INDEX agents.idx_agents_created_at;
DROP INDEX agents.idx_agents_name_begins;
CREATE INDEX idx_agents_type ON agents.agents (type);
"""


def add(index):
    return migrations.AddIndex("agent", index)


class Migration(migrations.Migration):
    dependencies = [("agents", "0001_agents")]

    operations = [
        migrations.RunSQL(
            FORWARDS,
            BACKWARDS,
            state_operations=[
                migrations.RemoveIndex("agent", "idx_agents_type"),
                add(models.Index(fields=["type", "name", "id"], name="idx_agents_type")),
                add(models.Index(fields=["type", "created_at", "id"], name="idx_agents_type_created_at")),
                add(models.Index(fields=["name", "id"], name="idx_agents_name")),
                add(models.Index(fields=["created_at", "id"], name="idx_agents_created_at")),
                add(
                    models.Index(
                        django.contrib.postgres.indexes.OpClass(
                            django.db.models.functions.text.Upper("name"), name="text_pattern_ops"
                        ),
                        name="idx_agents_name_begins",
                    )
                ),
            ],
        ),
    ]
