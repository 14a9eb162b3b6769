"""Documents and memories in the admin. The vector is never editable and never loaded."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.postgres.search import SearchQuery
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html

from agents.models import Agent
from arcweb.admin import CountedDeletion, LargeTable
from arcweb.events import record
from arcweb.events.admin import AuditedAdmin
from arcweb.registry import Dependents, Page, register_dependents, register_page
from memories import admin_views, embed
from memories.forms import DocumentForm, MemoryForm
from memories.models import Document, EmbeddingState, Memory

register_page(
    Page(
        "memories/search/",
        admin_views.search_page,
        "memories_search",
        "Search",
        "Agents",
        "memories.view_memory",
    )
)
register_page(
    Page(
        "memories/ingest/",
        admin_views.ingest_page,
        "memories_ingest",
        "Ingest",
        "Agents",
        "memories.add_document",
    )
)
register_dependents(
    Dependents(Agent, "documents", lambda keys: Document.objects.filter(agent__in=keys).count())
)
register_dependents(Dependents(Agent, "memories", lambda keys: Memory.objects.filter(agent__in=keys).count()))
register_dependents(
    Dependents(Document, "memories", lambda keys: Memory.objects.filter(document__in=keys).count())
)


@admin.register(Document)
class DocumentAdmin(CountedDeletion, LargeTable, AuditedAdmin):
    form = DocumentForm
    list_display = ("name", "agent", "media_type", "size_bytes", "chunk_count", "created_at")
    list_select_related = ("agent",)
    search_fields = ("name",)
    ordering = ("-created_at", "-id")
    readonly_fields = (
        "agent",
        "media_type",
        "size_bytes",
        "chunk_count",
        "chunked_at",
        "created_at",
        "memories",
    )
    fields = ("name", *readonly_fields, "metadata")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False  # documents come in by ingestion

    @admin.display(description="Memories")
    def memories(self, document: Document) -> str:
        counts = Memory.objects.filter(document=document).state_counts()
        words = ", ".join(f"{number} {state}" for state, number in counts.items() if number) or "none yet"
        url = reverse("admin:memories_memory_changelist")
        return format_html('<a href="{}?document__id__exact={}">{}</a>', url, document.pk, words)

    def save_model(self, request: HttpRequest, obj: Document, form: Any, change: bool) -> None:
        obj.save(update_fields=form.changed_data)


@admin.register(Memory)
class MemoryAdmin(CountedDeletion, LargeTable, AuditedAdmin):
    form = MemoryForm
    list_display = ("preview", "agent", "document", "embedding_state", "created_at")
    list_display_links = ("preview",)
    list_select_related = ("agent", "document")
    list_filter = ("embedding_state",)
    search_fields = ("content",)
    search_help_text = "Words of the content; quotes for a phrase, - to leave a word out."
    sortable_by = ("created_at",)
    ordering = ("-created_at", "-id")
    linked_lookups = ("agent__id__exact", "document__id__exact")
    actions = ("delete_selected", "embed_again")
    readonly_fields = (
        "document",
        "position",
        "embedding_state",
        "embedding_model",
        "embedded_at",
        "embedding_error",
        "created_at",
        "id",
    )
    fields = ("agent", "content", "metadata", *readonly_fields)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Memory]:
        return Memory.objects.without_vectors()

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Memory], search_term: str
    ) -> tuple[QuerySet[Memory], bool]:
        if search_term.strip():
            query = SearchQuery(search_term, config="english", search_type="websearch")
            queryset = queryset.filter(content_tsv=query)
        return queryset, False

    @admin.action(description="Try to embed again", permissions=["change"])
    def embed_again(self, request: HttpRequest, queryset: QuerySet[Memory]) -> None:
        failed = list(queryset.filter(embedding_state=EmbeddingState.FAILED).values_list("pk", flat=True))
        number = embed.try_again(failed)
        record("memory.embed_again", object_type="memories.memory", data={"memories": number})
        self.message_user(request, f"{number} failed memories are queued to be embedded again.")

    @admin.display(description="Content")
    def preview(self, memory: Memory) -> str:
        text = " ".join((memory.content or "")[:400].split())
        return (text[:140] + "…" if len(text) > 140 else text) or "(no content)"

    def save_model(self, request: HttpRequest, obj: Memory, form: Any, change: bool) -> None:
        # Only what was typed is written: the worker may be writing the vector's columns right now.
        obj.save(**({"update_fields": form.changed_data} if change else {}))

    def deletion_name(self, obj: Memory) -> str:
        return " ".join(self.preview(obj).split()[:4])
