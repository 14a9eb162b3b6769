"""Indexes that give the lists of memories their order under every filter, and find documents by name."""

import django.contrib.postgres.indexes
import django.db.models.functions.text
from django.db import migrations, models

# A filter that few rows pass must not walk a million others in order of time.
FORWARDS = """
DROP INDEX agents.idx_memories_state;
CREATE INDEX idx_memories_state ON agents.memories (embedding_state, created_at, id);
CREATE INDEX idx_memories_agent_state ON agents.memories (agent_id, embedding_state, created_at, id);
CREATE INDEX idx_documents_name_begins ON agents.documents (upper(name) text_pattern_ops);
"""
BACKWARDS = """
DROP INDEX agents.idx_documents_name_begins;
DROP INDEX agents.idx_memories_agent_state;
DROP INDEX agents.idx_memories_state;
CREATE INDEX idx_memories_state ON agents.memories (embedding_state, agent_id);
"""


class Migration(migrations.Migration):
    dependencies = [("memories", "0001_memories")]

    operations = [
        migrations.RunSQL(
            FORWARDS,
            BACKWARDS,
            state_operations=[
                migrations.RemoveIndex("memory", "idx_memories_state"),
                migrations.AddIndex(
                    "memory",
                    models.Index(fields=["embedding_state", "created_at", "id"], name="idx_memories_state"),
                ),
                migrations.AddIndex(
                    "memory",
                    models.Index(
                        fields=["agent", "embedding_state", "created_at", "id"],
                        name="idx_memories_agent_state",
                    ),
                ),
                migrations.AddIndex(
                    "document",
                    models.Index(
                        django.contrib.postgres.indexes.OpClass(
                            django.db.models.functions.text.Upper("name"), name="text_pattern_ops"
                        ),
                        name="idx_documents_name_begins",
                    ),
                ),
            ],
        ),
    ]
