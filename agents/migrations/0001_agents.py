"""The schema `agents` and the seed's table of agents.

The tables are written as SQL: the schema is part of their name, which Django's operations only
half know, and what other services rely on should be readable in one place.
"""

import uuid

import django.db.models.functions.datetime
from django.contrib.postgres.functions import RandomUUID
from django.db import migrations, models

CREATE = """
CREATE TABLE agents.agents (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    name varchar(255) NOT NULL,
    type varchar(50) NOT NULL,
    config jsonb,
    created_at timestamptz DEFAULT now(),
    updated_at timestamptz DEFAULT now()
);
CREATE INDEX idx_agents_type ON agents.agents (type);

CREATE FUNCTION agents.touch_updated_at() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.updated_at := now();
    RETURN NEW;
END $$;
CREATE TRIGGER agents_touch_updated_at BEFORE UPDATE ON agents.agents
FOR EACH ROW WHEN (OLD.* IS DISTINCT FROM NEW.*) EXECUTE FUNCTION agents.touch_updated_at();
"""
DROP = """
DROP TABLE agents.agents;
DROP FUNCTION agents.touch_updated_at();
"""


class Migration(migrations.Migration):
    initial = True
    dependencies = []

    operations = [
        # init.sql makes the schema too; whoever comes second finds it there.
        migrations.RunSQL("CREATE SCHEMA IF NOT EXISTS agents", migrations.RunSQL.noop),
        migrations.RunSQL(
            CREATE,
            DROP,
            state_operations=[
                migrations.CreateModel(
                    name="Agent",
                    fields=[
                        (
                            "id",
                            models.UUIDField(
                                db_default=RandomUUID(),
                                default=uuid.uuid4,
                                editable=False,
                                primary_key=True,
                                serialize=False,
                            ),
                        ),
                        ("name", models.CharField(max_length=255)),
                        (
                            "type",
                            models.CharField(
                                help_text="What kind of agent it is, such as assistant, research or voice.",
                                max_length=50,
                            ),
                        ),
                        (
                            "config",
                            models.JSONField(
                                blank=True,
                                help_text="A JSON object; empty when the agent needs none.",
                                null=True,
                            ),
                        ),
                        (
                            "created_at",
                            models.DateTimeField(
                                db_default=django.db.models.functions.datetime.Now(),
                                editable=False,
                                null=True,
                            ),
                        ),
                        (
                            "updated_at",
                            models.DateTimeField(
                                db_default=django.db.models.functions.datetime.Now(),
                                editable=False,
                                null=True,
                            ),
                        ),
                    ],
                    options={
                        "db_table": '"agents"."agents"',
                        "indexes": [models.Index(fields=["type"], name="idx_agents_type")],
                    },
                ),
            ],
        ),
    ]
