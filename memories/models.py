"""What agents remember: documents, and the memories (chunks) that are searched by meaning."""

from __future__ import annotations

import uuid

from django.contrib.postgres.functions import RandomUUID
from django.contrib.postgres.indexes import GinIndex, OpClass
from django.contrib.postgres.search import SearchVectorField
from django.db import models
from django.db.models.functions import Now, Upper
from pgvector.django import HnswIndex, VectorField

from agents.models import Agent
from memories.querysets import MemoryQuerySet

#: Dimensions of agents.memories.embedding, as the seed has it. Shorter vectors are padded with zeros.
DIMENSIONS = 1536
#: embedding_model of vectors that another service stored without saying which model made them.
EXTERNAL_MODEL = "external"


class Document(models.Model):
    """A text that was ingested for an agent; its chunks are memories.

    The same text (sha256) is kept once for each agent.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, db_default=RandomUUID(), editable=False)
    agent = models.ForeignKey(Agent, on_delete=models.DO_NOTHING, related_name="documents", editable=False)
    name = models.CharField(max_length=255)
    media_type = models.CharField(max_length=100, db_default="text/plain", editable=False)
    size_bytes = models.BigIntegerField(db_default=0, editable=False)
    content_hash = models.BinaryField(help_text="sha256 of the text in UTF-8")
    metadata = models.JSONField(null=True, blank=True)
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    chunked_at = models.DateTimeField(null=True, editable=False)
    chunk_count = models.IntegerField(null=True, editable=False)

    class Meta:
        db_table = '"agents"."documents"'
        indexes = [
            models.Index(fields=["agent", "created_at", "id"], name="idx_documents_agent_id"),
            models.Index(fields=["created_at", "id"], name="idx_documents_created_at"),
            models.Index(fields=["name", "id"], name="idx_documents_name"),
            models.Index(OpClass(Upper("name"), name="text_pattern_ops"), name="idx_documents_name_begins"),
        ]
        constraints = [
            models.UniqueConstraint(fields=["agent", "content_hash"], name="documents_agent_content_once"),
        ]

    def __str__(self) -> str:
        return self.name


class DocumentSource(models.Model):
    """The text of a document as it was given; kept apart so that lists of documents never load it."""

    document = models.OneToOneField(
        Document, on_delete=models.DO_NOTHING, primary_key=True, related_name="source", editable=False
    )
    text = models.TextField(editable=False)

    class Meta:
        db_table = '"agents"."document_sources"'

    def __str__(self) -> str:
        return f"source of {self.document_id}"


class EmbeddingState(models.TextChoices):
    """How a memory stands with its vector; kept by a trigger, whoever writes (see migration 0001)."""

    EMPTY = "empty", "no content"
    PENDING = "pending", "pending"
    EMBEDDED = "embedded", "embedded"
    STALE = "stale", "stale"
    FAILED = "failed", "failed"


class Memory(models.Model):
    """A row of agents.memories: the seed's columns, then what the data flow needs.

    Every added column has a database default, so that the seed's INSERTs work from anywhere.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, db_default=RandomUUID(), editable=False)
    agent = models.ForeignKey(
        Agent, on_delete=models.DO_NOTHING, null=True, blank=True, related_name="memories", db_index=False
    )
    content = models.TextField(null=True, blank=True)  # noqa: DJ001 - the seed's column is nullable
    embedding = VectorField(dimensions=DIMENSIONS, null=True, blank=True, editable=False)
    metadata = models.JSONField(null=True, blank=True, help_text="A JSON object; searches can filter on it.")
    created_at = models.DateTimeField(null=True, db_default=Now(), editable=False)

    document = models.ForeignKey(
        Document,
        on_delete=models.DO_NOTHING,
        null=True,
        related_name="memories",
        editable=False,
        db_index=False,
    )
    position = models.IntegerField(null=True, editable=False, help_text="Which chunk of the document, from 0")
    content_hash = models.BinaryField(
        null=True, editable=False, help_text="sha256 of content, kept by a trigger"
    )
    content_tsv = models.GeneratedField(
        expression=models.Func(
            models.Value("english"),
            models.Func(models.functions.Coalesce("content", models.Value("")), 100000, function="LEFT"),
            function="to_tsvector",
        ),
        output_field=SearchVectorField(),
        db_persist=True,
        editable=False,
    )
    embedding_state = models.CharField(
        max_length=10, choices=EmbeddingState, db_default=EmbeddingState.PENDING, editable=False
    )
    embedding_model = models.CharField(max_length=200, db_default="", editable=False)
    embedded_at = models.DateTimeField(null=True, editable=False)
    embedding_error = models.TextField(db_default="", editable=False)
    embedding_attempts = models.SmallIntegerField(db_default=0, editable=False)
    embedding_due_at = models.DateTimeField(
        null=True, editable=False, help_text="Leased or put off until then; empty: may be embedded now"
    )

    objects = MemoryQuerySet.as_manager()

    class Meta:
        db_table = '"agents"."memories"'
        verbose_name_plural = "memories"
        indexes = [
            models.Index(fields=["agent", "created_at", "id"], name="idx_memories_agent_id"),
            models.Index(fields=["created_at", "id"], name="idx_memories_created_at"),
            models.Index(fields=["document", "position"], name="idx_memories_document_id"),
            models.Index(fields=["content_hash"], name="idx_memories_content_hash"),
            models.Index(fields=["embedding_state", "created_at", "id"], name="idx_memories_state"),
            models.Index(
                fields=["agent", "embedding_state", "created_at", "id"], name="idx_memories_agent_state"
            ),
            models.Index(
                fields=["agent", "embedding_model"],
                name="idx_memories_model",
                condition=models.Q(embedding__isnull=False),
            ),
            GinIndex(fields=["content_tsv"], name="idx_memories_content_tsv"),
            GinIndex(fields=["metadata"], name="idx_memories_metadata", opclasses=["jsonb_path_ops"]),
            HnswIndex(
                fields=["embedding"],
                name="idx_memories_embedding",
                m=16,
                ef_construction=64,
                opclasses=["vector_cosine_ops"],
            ),
        ]

    def __str__(self) -> str:
        return f"memory {self.pk}"
