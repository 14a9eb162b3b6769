"""Schema events: the append-only, monthly partitioned record and its erasable side table.

Written as SQL because Django knows neither partitions nor schemas; the state operations tell it what
the tables look like. Every column but `kind` has a default, so that any service can
INSERT INTO events.events (kind) VALUES ('…').
"""

from django.db import migrations, models

TABLES = """
CREATE SCHEMA IF NOT EXISTS events;

CREATE SEQUENCE events.events_id_seq AS bigint;

CREATE TABLE events.events (
    id bigint NOT NULL DEFAULT nextval('events.events_id_seq'),
    occurred_at timestamptz NOT NULL DEFAULT now(),
    kind text COLLATE "C" NOT NULL CHECK (kind <> ''),
    actor_kind text NOT NULL DEFAULT 'service' CHECK (actor_kind IN ('user', 'system', 'service')),
    actor_id text NOT NULL DEFAULT current_user,
    object_type text NOT NULL DEFAULT '',
    object_id text NOT NULL DEFAULT '',
    agent_id uuid,
    data jsonb NOT NULL DEFAULT '{}',
    PRIMARY KEY (occurred_at, id)
) PARTITION BY RANGE (occurred_at);

ALTER SEQUENCE events.events_id_seq OWNED BY events.events.id;

CREATE INDEX idx_events_object ON events.events (object_id, object_type, occurred_at, id) WHERE object_id <> '';
CREATE INDEX idx_events_agent_id ON events.events (agent_id, occurred_at, id) WHERE agent_id IS NOT NULL;
CREATE INDEX idx_events_actor ON events.events (actor_id, occurred_at, id);
CREATE INDEX idx_events_kind ON events.events (kind, occurred_at, id);

CREATE TABLE events.events_default PARTITION OF events.events DEFAULT;

-- No foreign key: old partitions must be detachable without a scan of this table.
CREATE TABLE events.event_details (
    occurred_at timestamptz NOT NULL,
    event_id bigint NOT NULL,
    actor_name text NOT NULL DEFAULT '',
    address inet,
    user_agent text NOT NULL DEFAULT '',
    label text NOT NULL DEFAULT '',
    note text NOT NULL DEFAULT '',
    PRIMARY KEY (occurred_at, event_id)
);
CREATE INDEX idx_event_details_actor_name ON events.event_details (upper(actor_name) text_pattern_ops);
CREATE INDEX idx_event_details_label ON events.event_details (upper(label) text_pattern_ops);

COMMENT ON TABLE events.events IS
    'Append-only: triggers refuse UPDATE, DELETE and TRUNCATE. The owner of the table can drop a trigger; '
    'proof against the owner needs a copy on another machine.';
COMMENT ON TABLE events.event_details IS 'What may have to be erased about an event. Deleting a row leaves the fact.';
"""

TRIGGERS = """
CREATE FUNCTION events.refuse_change() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
    RAISE EXCEPTION '%.% is append-only: % is refused.', TG_TABLE_SCHEMA, TG_TABLE_NAME, TG_OP
        USING ERRCODE = 'restrict_violation',
              HINT = 'Record a new event instead. What may have to be erased is in events.event_details.';
END
$$;

CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON events.events
    FOR EACH ROW EXECUTE FUNCTION events.refuse_change();
CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON events.events
    FOR EACH STATEMENT EXECUTE FUNCTION events.refuse_change();
-- Row triggers are cloned to partitions, statement triggers are not.
CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON events.events_default
    FOR EACH STATEMENT EXECUTE FUNCTION events.refuse_change();
"""

PARTITIONS = """
CREATE FUNCTION events.make_partition(month date) RETURNS text
LANGUAGE plpgsql SET search_path = pg_catalog AS $$
DECLARE
    first date := date_trunc('month', month)::date;
    name text := 'events_' || to_char(first, 'YYYY_MM');
BEGIN
    EXECUTE format(
        'CREATE TABLE events.%I PARTITION OF events.events FOR VALUES FROM (%L) TO (%L)', name,
        to_char(first, 'YYYY-MM-DD') || ' 00:00:00+00',
        to_char(first + interval '1 month', 'YYYY-MM-DD') || ' 00:00:00+00');
    EXECUTE format(
        'CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON events.%I '
        'FOR EACH STATEMENT EXECUTE FUNCTION events.refuse_change()', name);
    RETURN name;
END
$$;

CREATE FUNCTION events.ensure_partitions(months_ahead integer)
RETURNS TABLE (partition text, created boolean, problem text)
LANGUAGE plpgsql SET search_path = pg_catalog SET lock_timeout = '5s' AS $$
DECLARE
    this_month date := date_trunc('month', now() AT TIME ZONE 'UTC')::date;
    month date;
BEGIN
    IF months_ahead IS NULL OR months_ahead NOT BETWEEN 0 AND 120 THEN
        RAISE EXCEPTION 'months_ahead must be from 0 to 120, not %.', months_ahead;
    END IF;
    -- Two callers take turns; the second finds the work done.
    PERFORM pg_advisory_xact_lock(hashtextextended('events.ensure_partitions', 0));
    FOR ahead IN 0..months_ahead LOOP
        month := (this_month + make_interval(months => ahead))::date;
        partition := 'events_' || to_char(month, 'YYYY_MM');
        created := false;
        problem := NULL;
        IF to_regclass('events.' || partition) IS NULL THEN
            IF EXISTS (
                SELECT FROM events.events_default
                WHERE occurred_at >= month::timestamp AT TIME ZONE 'UTC'
                  AND occurred_at < (month + interval '1 month') AT TIME ZONE 'UTC'
            ) THEN
                problem := format(
                    'Events of %s are already in events.events_default, so the month cannot get a partition of '
                    'its own. They are safe and readable there; SELECT events.split_default(%L) moves them, and '
                    'holds up writers while it runs.', to_char(month, 'YYYY-MM'), month);
            ELSE
                PERFORM events.make_partition(month);
                created := true;
            END IF;
        END IF;
        RETURN NEXT;
    END LOOP;
END
$$;

CREATE FUNCTION events.split_default(month date) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog SET lock_timeout = '5s' AS $$
DECLARE
    first timestamptz := date_trunc('month', month)::timestamp AT TIME ZONE 'UTC';
    following timestamptz := (date_trunc('month', month) + interval '1 month')::timestamp AT TIME ZONE 'UTC';
    moved bigint;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('events.ensure_partitions', 0));
    LOCK TABLE events.events IN ACCESS EXCLUSIVE MODE;
    ALTER TABLE events.events DETACH PARTITION events.events_default;
    PERFORM events.make_partition(month);
    INSERT INTO events.events SELECT * FROM events.events_default WHERE occurred_at >= first AND occurred_at < following;
    GET DIAGNOSTICS moved = ROW_COUNT;
    -- The rows stand in their own partition now. A detached table has lost the parent's row trigger;
    -- attaching gives it back, in this same transaction.
    DELETE FROM events.events_default WHERE occurred_at >= first AND occurred_at < following;
    ALTER TABLE events.events ATTACH PARTITION events.events_default DEFAULT;
    RETURN moved;
END
$$;

SELECT events.ensure_partitions(3);
"""

REVERSE = """
DROP TABLE events.event_details;
DROP TABLE events.events;
DROP FUNCTION events.split_default(date);
DROP FUNCTION events.ensure_partitions(integer);
DROP FUNCTION events.make_partition(date);
DROP FUNCTION events.refuse_change();
"""


class Migration(migrations.Migration):
    initial = True
    dependencies = []

    operations = [
        migrations.SeparateDatabaseAndState(
            database_operations=[migrations.RunSQL([TABLES, TRIGGERS, PARTITIONS], REVERSE)],
            state_operations=[
                migrations.CreateModel(
                    name="Event",
                    fields=[
                        (
                            "pk",
                            models.CompositePrimaryKey(
                                "occurred_at",
                                "id",
                                blank=True,
                                editable=False,
                                primary_key=True,
                                serialize=False,
                            ),
                        ),
                        ("occurred_at", models.DateTimeField()),
                        ("id", models.BigIntegerField()),
                        ("kind", models.TextField(db_collation="C")),
                        ("actor_kind", models.TextField()),
                        ("actor_id", models.TextField()),
                        ("object_type", models.TextField()),
                        ("object_id", models.TextField()),
                        ("agent_id", models.UUIDField(null=True)),
                        ("data", models.JSONField()),
                    ],
                    options={"db_table": '"events"."events"', "default_permissions": ("view",)},
                ),
                migrations.CreateModel(
                    name="EventDetail",
                    fields=[
                        (
                            "pk",
                            models.CompositePrimaryKey(
                                "occurred_at",
                                "event_id",
                                blank=True,
                                editable=False,
                                primary_key=True,
                                serialize=False,
                            ),
                        ),
                        ("occurred_at", models.DateTimeField()),
                        ("event_id", models.BigIntegerField()),
                        ("actor_name", models.TextField()),
                        ("address", models.GenericIPAddressField(null=True)),
                        ("user_agent", models.TextField()),
                        ("label", models.TextField()),
                        ("note", models.TextField()),
                    ],
                    options={"db_table": '"events"."event_details"', "default_permissions": ()},
                ),
            ],
        ),
    ]
