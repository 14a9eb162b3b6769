"""Documents and the seed's table of memories, with the trigger that keeps vectors honest.

Written as SQL for the reason given in agents' first migration. docs/DECISIONS.md tells why HNSW
stands in for the seed's IVFFlat and where the storage settings come from.
"""

import uuid

import django.db.models.deletion
import django.db.models.functions.datetime
import pgvector.django
from django.contrib.postgres.functions import RandomUUID
from django.contrib.postgres.indexes import GinIndex
from django.contrib.postgres.search import SearchVectorField
from django.db import migrations, models

TABLES = """
CREATE TABLE agents.documents (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    agent_id uuid NOT NULL REFERENCES agents.agents (id) ON DELETE CASCADE,
    name varchar(255) NOT NULL,
    media_type varchar(100) NOT NULL DEFAULT 'text/plain',
    size_bytes bigint NOT NULL DEFAULT 0,
    content_hash bytea NOT NULL,
    metadata jsonb,
    created_at timestamptz NOT NULL DEFAULT now(),
    chunked_at timestamptz,
    chunk_count integer,
    CONSTRAINT documents_agent_content_once UNIQUE (agent_id, content_hash)
);
CREATE INDEX idx_documents_agent_id ON agents.documents (agent_id, created_at, id);
CREATE INDEX idx_documents_created_at ON agents.documents (created_at, id);

CREATE TABLE agents.document_sources (
    document_id uuid PRIMARY KEY REFERENCES agents.documents (id) ON DELETE CASCADE,
    text text NOT NULL
);

CREATE TABLE agents.memories (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    agent_id uuid REFERENCES agents.agents (id) ON DELETE CASCADE,
    content text,
    embedding vector(1536),
    metadata jsonb,
    created_at timestamptz DEFAULT now(),
    document_id uuid REFERENCES agents.documents (id) ON DELETE CASCADE,
    position integer,
    content_hash bytea,
    -- A tsvector holds 1 MB; a longer content must not make somebody's INSERT fail.
    content_tsv tsvector GENERATED ALWAYS AS (to_tsvector('english', left(coalesce(content, ''), 100000))) STORED,
    embedding_state varchar(10) NOT NULL DEFAULT 'pending'
        CONSTRAINT memories_embedding_state CHECK (embedding_state IN ('empty', 'pending', 'embedded', 'stale', 'failed')),
    embedding_model varchar(200) NOT NULL DEFAULT '',
    embedded_at timestamptz,
    embedding_error text NOT NULL DEFAULT '',
    embedding_attempts smallint NOT NULL DEFAULT 0,
    embedding_due_at timestamptz
);
-- Vectors lie in the row, not in TOAST: exact search reads them three times as fast (docs/DECISIONS.md).
ALTER TABLE agents.memories ALTER COLUMN embedding SET STORAGE MAIN;
ALTER TABLE agents.memories SET (toast_tuple_target = 8160);
-- Its name and leading column are the seed's; the others make it serve an agent's list, newest first.
CREATE INDEX idx_memories_agent_id ON agents.memories (agent_id, created_at, id);
CREATE INDEX idx_memories_created_at ON agents.memories (created_at, id);
CREATE INDEX idx_memories_document_id ON agents.memories (document_id, position);
CREATE INDEX idx_memories_content_hash ON agents.memories (content_hash);
CREATE INDEX idx_memories_state ON agents.memories (embedding_state, agent_id);
-- How many vectors a search would compare is counted here, without touching the large rows.
CREATE INDEX idx_memories_model ON agents.memories (agent_id, embedding_model) WHERE embedding IS NOT NULL;
-- What is to be embedded: rows that no document waits for first, then by age.
CREATE INDEX idx_memories_waiting ON agents.memories ((document_id IS NOT NULL), created_at)
    WHERE embedding_state IN ('pending', 'stale');
CREATE INDEX idx_memories_content_tsv ON agents.memories USING gin (content_tsv);
CREATE INDEX idx_memories_metadata ON agents.memories USING gin (metadata jsonb_path_ops);
CREATE INDEX idx_memories_embedding ON agents.memories USING hnsw (embedding vector_cosine_ops)
    WITH (m = 16, ef_construction = 64);
"""

# The database keeps memory and vector in step, so that it does not matter who writes:
#   * content_hash is always that of content;
#   * a content that changes under a vector makes it stale;
#   * a vector that comes without the name of its model is recorded as "external".
# The project's own writer sets embedded_at, which tells its vectors from other services'.
TRIGGER = """
CREATE FUNCTION agents.track_embedding() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    content_changed boolean := true;
    vector_changed boolean := NEW.embedding IS NOT NULL;
    declared boolean := NEW.embedded_at IS NOT NULL;
    model_changed boolean := NEW.embedding_model <> '';
BEGIN
    IF TG_OP = 'UPDATE' THEN
        content_changed := NEW.content IS DISTINCT FROM OLD.content;
        vector_changed := NEW.embedding IS DISTINCT FROM OLD.embedding;
        declared := NEW.embedded_at IS DISTINCT FROM OLD.embedded_at;
        model_changed := NEW.embedding_model IS DISTINCT FROM OLD.embedding_model;
    END IF;
    IF content_changed THEN
        NEW.content_hash := sha256(convert_to(NEW.content, 'UTF8'));
        NEW.embedding_attempts := 0;
        NEW.embedding_due_at := NULL;
        NEW.embedding_error := '';
    END IF;
    IF NEW.embedding IS NOT NULL AND (vector_changed OR (declared AND NEW.embedded_at IS NOT NULL)) THEN
        NEW.embedding_state := 'embedded';
        NEW.embedding_error := '';
        NEW.embedding_attempts := 0;
        NEW.embedding_due_at := NULL;
        IF NOT declared OR NEW.embedded_at IS NULL THEN
            NEW.embedded_at := now();
        END IF;
        IF NOT declared AND NOT model_changed THEN
            NEW.embedding_model := 'external';
        END IF;
    ELSIF NEW.content IS NULL OR btrim(NEW.content, E' \\t\\r\\n') = '' THEN
        NEW.embedding := NULL;
        NEW.embedding_state := 'empty';
        NEW.embedding_model := '';
        NEW.embedded_at := NULL;
    ELSIF NEW.embedding IS NULL THEN
        IF content_changed OR vector_changed OR NEW.embedding_state <> 'failed' THEN
            NEW.embedding_state := 'pending';
        END IF;
        NEW.embedding_model := '';
        NEW.embedded_at := NULL;
    ELSIF content_changed THEN
        NEW.embedding_state := 'stale';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER memories_track_embedding_insert BEFORE INSERT ON agents.memories
FOR EACH ROW EXECUTE FUNCTION agents.track_embedding();
CREATE TRIGGER memories_track_embedding_update
BEFORE UPDATE OF content, embedding, embedding_model, embedded_at ON agents.memories
FOR EACH ROW EXECUTE FUNCTION agents.track_embedding();
"""
DROP = """
DROP TABLE agents.memories;
DROP FUNCTION agents.track_embedding();
DROP TABLE agents.document_sources;
DROP TABLE agents.documents;
"""


def require_pgvector(apps, schema_editor):
    """Ends the migration with a sentence when the extension `vector` is missing and cannot be made."""
    with schema_editor.connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_extension WHERE extname = 'vector'")
        if cursor.fetchone()[0]:
            return
        cursor.execute("SELECT rolsuper FROM pg_roles WHERE rolname = current_user")
        if not cursor.fetchone()[0]:
            raise RuntimeError(
                "the extension `vector` (pgvector) is missing in this database and its role may not create it. "
                "As a superuser of this database run: CREATE EXTENSION vector; or let arcweb/embedded/init.sql do it."
            )
        cursor.execute("CREATE EXTENSION vector")


def uuid_key():
    return models.UUIDField(
        db_default=RandomUUID(), default=uuid.uuid4, editable=False, primary_key=True, serialize=False
    )


def link(to, related_name, **options):
    return models.ForeignKey(
        on_delete=django.db.models.deletion.DO_NOTHING, related_name=related_name, to=to, **options
    )


STATE = [
    migrations.CreateModel(
        name="Document",
        fields=[
            ("id", uuid_key()),
            ("name", models.CharField(max_length=255)),
            ("media_type", models.CharField(db_default="text/plain", editable=False, max_length=100)),
            ("size_bytes", models.BigIntegerField(db_default=0, editable=False)),
            ("content_hash", models.BinaryField(help_text="sha256 of the text in UTF-8")),
            ("metadata", models.JSONField(blank=True, null=True)),
            (
                "created_at",
                models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False),
            ),
            ("chunked_at", models.DateTimeField(editable=False, null=True)),
            ("chunk_count", models.IntegerField(editable=False, null=True)),
            ("agent", link("agents.agent", "documents", editable=False)),
        ],
        options={
            "db_table": '"agents"."documents"',
            "indexes": [
                models.Index(fields=["agent", "created_at", "id"], name="idx_documents_agent_id"),
                models.Index(fields=["created_at", "id"], name="idx_documents_created_at"),
            ],
            "constraints": [
                models.UniqueConstraint(fields=("agent", "content_hash"), name="documents_agent_content_once")
            ],
        },
    ),
    migrations.CreateModel(
        name="DocumentSource",
        fields=[
            (
                "document",
                models.OneToOneField(
                    editable=False,
                    on_delete=django.db.models.deletion.DO_NOTHING,
                    primary_key=True,
                    related_name="source",
                    serialize=False,
                    to="memories.document",
                ),
            ),
            ("text", models.TextField(editable=False)),
        ],
        options={"db_table": '"agents"."document_sources"'},
    ),
    migrations.CreateModel(
        name="Memory",
        fields=[
            ("id", uuid_key()),
            ("content", models.TextField(blank=True, null=True)),
            (
                "embedding",
                pgvector.django.VectorField(blank=True, dimensions=1536, editable=False, null=True),
            ),
            (
                "metadata",
                models.JSONField(
                    blank=True, help_text="A JSON object; searches can filter on it.", null=True
                ),
            ),
            (
                "created_at",
                models.DateTimeField(
                    db_default=django.db.models.functions.datetime.Now(), editable=False, null=True
                ),
            ),
            (
                "position",
                models.IntegerField(
                    editable=False, help_text="Which chunk of the document, from 0", null=True
                ),
            ),
            (
                "content_hash",
                models.BinaryField(
                    editable=False, help_text="sha256 of content, kept by a trigger", null=True
                ),
            ),
            (
                "content_tsv",
                models.GeneratedField(
                    db_persist=True,
                    expression=models.Func(
                        models.Value("english"),
                        models.Func(
                            models.functions.Coalesce("content", models.Value("")), 100000, function="LEFT"
                        ),
                        function="to_tsvector",
                    ),
                    output_field=SearchVectorField(),
                ),
            ),
            (
                "embedding_state",
                models.CharField(
                    choices=[
                        ("empty", "no content"),
                        ("pending", "pending"),
                        ("embedded", "embedded"),
                        ("stale", "stale"),
                        ("failed", "failed"),
                    ],
                    db_default="pending",
                    editable=False,
                    max_length=10,
                ),
            ),
            ("embedding_model", models.CharField(db_default="", editable=False, max_length=200)),
            ("embedded_at", models.DateTimeField(editable=False, null=True)),
            ("embedding_error", models.TextField(db_default="", editable=False)),
            ("embedding_attempts", models.SmallIntegerField(db_default=0, editable=False)),
            (
                "embedding_due_at",
                models.DateTimeField(
                    editable=False,
                    help_text="Leased or put off until then; empty: may be embedded now",
                    null=True,
                ),
            ),
            ("agent", link("agents.agent", "memories", blank=True, db_index=False, null=True)),
            ("document", link("memories.document", "memories", db_index=False, editable=False, null=True)),
        ],
        options={
            "db_table": '"agents"."memories"',
            "verbose_name_plural": "memories",
            "indexes": [
                models.Index(fields=["agent", "created_at", "id"], name="idx_memories_agent_id"),
                models.Index(fields=["created_at", "id"], name="idx_memories_created_at"),
                models.Index(fields=["document", "position"], name="idx_memories_document_id"),
                models.Index(fields=["content_hash"], name="idx_memories_content_hash"),
                models.Index(fields=["embedding_state", "agent"], name="idx_memories_state"),
                models.Index(
                    condition=models.Q(("embedding__isnull", False)),
                    fields=["agent", "embedding_model"],
                    name="idx_memories_model",
                ),
                GinIndex(fields=["content_tsv"], name="idx_memories_content_tsv"),
                GinIndex(fields=["metadata"], name="idx_memories_metadata", opclasses=["jsonb_path_ops"]),
                pgvector.django.HnswIndex(
                    ef_construction=64,
                    fields=["embedding"],
                    m=16,
                    name="idx_memories_embedding",
                    opclasses=["vector_cosine_ops"],
                ),
            ],
        },
    ),
]


class Migration(migrations.Migration):
    initial = True
    dependencies = [("agents", "0001_agents")]

    operations = [
        migrations.RunPython(require_pgvector, migrations.RunPython.noop),
        migrations.RunSQL(TABLES, DROP, state_operations=STATE),
        migrations.RunSQL(TRIGGER, migrations.RunSQL.noop),
    ]
