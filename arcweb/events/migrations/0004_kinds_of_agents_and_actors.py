"""Indexes for what people ask together: the kinds of one agent, the kinds of one actor."""

from django.db import migrations

INDEXES = """
CREATE INDEX idx_events_agent_kind ON events.events (agent_id, kind, occurred_at, id) WHERE agent_id IS NOT NULL;
CREATE INDEX idx_events_actor_kind ON events.events (actor_id, kind, occurred_at, id);
"""
REVERSE = """
DROP INDEX events.idx_events_agent_kind;
DROP INDEX events.idx_events_actor_kind;
"""


class Migration(migrations.Migration):
    dependencies = [("events", "0003_alerts")]

    operations = [migrations.RunSQL(INDEXES, REVERSE)]
