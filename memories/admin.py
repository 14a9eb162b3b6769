"""Documents and memories in the admin. The vector is never editable and never loaded."""

from __future__ import annotations

import json
from typing import Any

from django.contrib import admin
from django.contrib.admin.utils import unquote
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.defaultfilters import filesizeformat
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.html import format_html

from agents.figures import register_figures
from agents.models import Agent
from arcweb import keyset
from arcweb.admin import AFTER, BEFORE, ChangedFieldsOnly, CountedDeletion, LargeTable, moment, state_words
from arcweb.events import record
from arcweb.events.admin import AuditedAdmin
from arcweb.jobs.models import Job
from arcweb.panels import register_panel
from arcweb.registry import (
    Dependents,
    Finder,
    NavItem,
    Page,
    register_dependents,
    register_finder,
    register_nav,
    register_page,
)
from memories import admin_views, agent_figures, embed, finders, memory_views
from memories.filters import AgentFilter
from memories.forms import DocumentForm, MemoryForm
from memories.ingest import JOB_KIND
from memories.models import Document, EmbeddingState, Memory
from memories.neighbours import similarity
from memories.providers import get_provider
from memories.search import LONGEST_QUERY
from memories.standing import SHAPES, standing

#: Chunks on one page of a document.
CHUNKS = 20

register_page(
    Page(
        "memories/search/",
        admin_views.search_page,
        "memories_search",
        "Search",
        "Agents",
        "memories.view_memory",
        order=20,
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
        order=30,
    )
)
register_nav(
    NavItem("Memories", "Memories", "admin:memories_memory_changelist", "memories.view_memory", order=10)
)
register_nav(
    NavItem("Documents", "Memories", "admin:memories_document_changelist", "memories.view_document", order=20)
)
register_nav(
    NavItem("Add a memory", "Memories", "admin:memories_memory_add", "memories.add_memory", 11, listed=False)
)
register_finder(Finder("Memories", "memories.view_memory", finders.find_memories, order=20))
register_finder(Finder("Documents", "memories.view_document", finders.find_documents, order=30))
register_figures(agent_figures.FIGURES)
register_panel(agent_figures.PANEL)
register_dependents(
    Dependents(
        Agent,
        "documents",
        lambda keys: Document.objects.filter(agent__in=keys).count(),
        "memories.delete_document",
    )
)
register_dependents(
    Dependents(
        Agent,
        "memories",
        lambda keys: Memory.objects.filter(agent__in=keys).count(),
        "memories.delete_memory",
    )
)
register_dependents(
    Dependents(
        Document,
        "memories",
        lambda keys: Memory.objects.filter(document__in=keys).count(),
        "memories.delete_memory",
    )
)


def pretty(value: Any) -> str:
    """A JSON value as people read it; empty for NULL."""
    return "" if value is None else json.dumps(value, indent=2, ensure_ascii=False)


def agent_of(row: Any) -> str:
    """The agent of a listed row (`LinkedRows`)."""
    if row.agent is None:
        return format_html('<span class="soft">{}</span>', "no agent")
    return _linked(row.agent.name, "agents_agent", row.agent.pk, row.permitted)


def _linked(name: str, page: str, key: Any, permitted: Any) -> str:
    if page not in permitted:
        return name
    return format_html('<a href="{}">{}</a>', reverse(f"admin:{page}_change", args=[key]), name)


class LinkedRows(LargeTable):
    """Rows that know which pages they may lead to: `permitted`."""

    def prepare_rows(self, request: HttpRequest, rows: list[Any]) -> None:
        pages = {"agents_agent": "agents.view_agent", "memories_document": "memories.view_document"}
        permitted = {page for page, permission in pages.items() if request.user.has_perm(permission)}
        for row in rows:
            row.permitted = permitted


@admin.register(Document)
class DocumentAdmin(CountedDeletion, ChangedFieldsOnly, LinkedRows, AuditedAdmin):
    form = DocumentForm
    change_form_template = "admin/memories/document.html"
    watch = "memories"
    list_display = ("name", "of_agent", "size", "chunks", "stored")
    list_select_related = ("agent",)
    list_filter = (AgentFilter,)
    search_fields = ("name__istartswith",)
    search_help_text = "The beginning of a name, in any case."
    sortable_by = ("stored",)
    ordering = ("-created_at",)
    linked_lookups = AgentFilter.names
    fields = ("name", "metadata")

    class Media:
        css = {"all": ["arcweb/records.css"]}

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False  # documents come in by ingestion

    def listed(self, rows: QuerySet[Document]) -> QuerySet[Document]:
        return rows.defer("metadata", "agent__config")

    @admin.display(description="agent")
    def of_agent(self, document: Document) -> str:
        return agent_of(document)

    @admin.display(description="size")
    def size(self, document: Document) -> str:
        return filesizeformat(document.size_bytes)

    @admin.display(description="chunks")
    def chunks(self, document: Document) -> str:
        return "not cut yet" if document.chunk_count is None else f"{document.chunk_count:,}"

    @admin.display(description="stored (UTC)", ordering="created_at")
    def stored(self, document: Document) -> str:
        return moment(document.created_at)

    def get_urls(self) -> list[URLPattern]:
        source = self.admin_site.admin_view(memory_views.document_source)
        return [
            path("<uuid:document_id>/source/", source, name="memories_document_source"),
            *super().get_urls(),
        ]

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """The document's page: facts, the progress of its job, and its chunks in order, by pages."""
        document = self.get_object(request, unquote(object_id))
        extra: dict[str, Any] = {}
        if document is not None and self.has_view_permission(request, document):
            extra = {
                "title": document.name,
                "metadata": pretty(document.metadata),
                **_job_of(request, document),
            }
            if request.user.has_perm("memories.view_memory"):
                extra |= _chunks_of(request, document)
        return super().change_view(request, object_id, form_url, {**extra, **(extra_context or {})})


def _job_of(request: HttpRequest, document: Document) -> dict[str, Any]:
    """The last job of the document, if it is under way or did not end well."""
    jobs = Job.objects.visible_to(request.user).filter(unique_key=f"{JOB_KIND}:{document.pk}")
    job = jobs.order_by("-created_at").first()
    return {"job": None if job is None or job.state == Job.State.SUCCEEDED else job}


def _chunks_of(request: HttpRequest, document: Document) -> dict[str, Any]:
    order = keyset.Order(Memory, "position", descending=False)
    rows = Memory.objects.filter(document=document)
    after = order.parse(request.GET.get(AFTER, ""))
    before = None if after else order.parse(request.GET.get(BEFORE, ""))
    page = order.page(rows.listed(), CHUNKS, after=after, before=before)
    counts = {state: number for state, number in rows.state_counts().items() if number}
    return {
        "chunks": [(row, SHAPES[row.embedding_state]) for row in page.rows],
        "page": page,
        "states": [(SHAPES[state], EmbeddingState(state).label, number) for state, number in counts.items()],
    }


@admin.register(Memory)
class MemoryAdmin(CountedDeletion, ChangedFieldsOnly, LinkedRows, AuditedAdmin):
    form = MemoryForm
    add_form_template = "admin/change_form.html"
    change_form_template = "admin/memories/memory.html"
    watch = "memories"
    list_display = ("preview", "of_agent", "state", "of_document", "stored")
    list_display_links = ("preview",)
    list_select_related = ("agent", "document")
    list_filter = (AgentFilter, "embedding_state")
    search_fields = ("content",)
    search_help_text = "Words of the content; quotes for a phrase, - to leave a word out."
    words_field = "content_tsv"
    sortable_by = ("stored",)
    ordering = ("-created_at",)
    linked_lookups = (*AgentFilter.names, "document__id__exact")
    actions = ("delete_selected", "embed_again")
    fields = ("agent", "content", "metadata")

    class Media:
        css = {"all": ["arcweb/records.css"]}

    def get_queryset(self, request: HttpRequest) -> QuerySet[Memory]:
        return Memory.objects.without_vectors()

    def listed(self, rows: QuerySet[Memory]) -> QuerySet[Memory]:
        return rows.listed().defer("agent__config", "document__metadata")  # type: ignore[attr-defined]

    def forced_ordering(self, request: HttpRequest) -> str:
        """The chunks of one document stand in their order, which is that of the document's index."""
        return "position" if request.GET.get("document__id__exact") else ""

    @admin.action(description="Try to embed again", permissions=["change"])
    def embed_again(self, request: HttpRequest, queryset: QuerySet[Memory]) -> None:
        failed = list(queryset.filter(embedding_state=EmbeddingState.FAILED).values_list("pk", flat=True))
        number = embed.try_again(failed)
        if number:
            record("memory.embed_again", object_type="memories.memory", data={"memories": number})
        self.message_user(request, f"{number} failed memories are queued to be embedded again.")

    @admin.display(description="content")
    def preview(self, memory: Memory) -> str:
        return format_html('<span class="clip">{}</span>', beginning(memory))

    @admin.display(description="agent")
    def of_agent(self, memory: Memory) -> str:
        return agent_of(memory)

    @admin.display(description="state")
    def state(self, memory: Memory) -> str:
        return state_words(SHAPES[memory.embedding_state], memory.get_embedding_state_display())

    @admin.display(description="document")
    def of_document(self, memory: Any) -> str:
        if memory.document is None:
            return "none"
        link = _linked(memory.document.name, "memories_document", memory.document.pk, memory.permitted)
        chunk = "" if memory.position is None else f", chunk {memory.position + 1}"
        return format_html("{}{}", link, chunk)

    @admin.display(description="stored (UTC)", ordering="created_at")
    def stored(self, memory: Memory) -> str:
        return moment(memory.created_at)

    def deletion_name(self, obj: Memory) -> str:
        return " ".join(beginning(obj)[:140].split()[:4])

    def get_urls(self) -> list[URLPattern]:
        wrap = self.admin_site.admin_view
        views = {"neighbours": memory_views.memory_neighbours, "embed_again": memory_views.embed_again}
        own = [
            path(f"<uuid:memory_id>/{name.replace('_', '-')}/", wrap(view), name=f"memories_memory_{name}")
            for name, view in views.items()
        ]
        return [*own, *super().get_urls()]

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """The memory's page; `?q=` compares a query with it."""
        memory = self.get_object(request, unquote(object_id))
        extra: dict[str, Any] = {}
        if memory is not None and self.has_view_permission(request, memory):
            extra = {
                "title": beginning(memory)[:80],
                "metadata": pretty(memory.metadata),
                "standing": standing(memory, timezone.now()),
                "longest_query": LONGEST_QUERY,
            }
            query = request.GET.get("q", "").strip()[:LONGEST_QUERY]
            if query and request.method == "GET":
                extra |= {"query": query, "similarity": similarity(memory, query, get_provider())}
        return super().change_view(request, object_id, form_url, {**extra, **(extra_context or {})})


def beginning(memory: Any) -> str:
    """The first words of a content in one line; of a listed row (`MemoryQuerySet.listed`) or a whole one."""
    text = memory.start if hasattr(memory, "start") else memory.content
    return " ".join((text or "")[:400].split()) or "(no content)"
