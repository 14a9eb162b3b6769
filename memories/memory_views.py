"""Views of one memory and one document beside their forms."""

from __future__ import annotations

from uuid import UUID

from django.contrib import admin, messages
from django.contrib.auth.decorators import permission_required
from django.db import OperationalError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.http import content_disposition_header
from django.views.decorators.http import require_POST, require_safe

from arcweb.events import record
from memories import embed
from memories.models import DocumentSource, Memory
from memories.neighbours import neighbours
from memories.search import is_statement_timeout

#: Neighbours shown of one memory.
NEIGHBOURS = 10


@require_safe
@permission_required("memories.view_memory", raise_exception=True)
def memory_neighbours(request: HttpRequest, memory_id: UUID) -> HttpResponse:
    """The nearest memories, as a fragment for htmx, else as a page; `of=all`: of every agent."""
    memory = get_object_or_404(Memory.objects.listed().select_related("agent"), pk=memory_id)
    everywhere = memory.agent_id is None or request.GET.get("of") == "all"
    context = {"memory": memory, "everywhere": everywhere, "found": None, "too_slow": False}
    try:
        context["found"] = neighbours(
            memory.pk, agent_id=None if everywhere else memory.agent_id, k=NEIGHBOURS
        )
    except OperationalError as error:
        if not is_statement_timeout(error):
            raise
        context["too_slow"] = True
    if getattr(request, "htmx", False):
        return render(request, "admin/memories/memory_neighbours.html", context)
    page = {**admin.site.each_context(request), "title": "Neighbours", **context}
    return render(request, "admin/memories/memory_neighbours_page.html", page)


@require_POST
@permission_required("memories.change_memory", raise_exception=True)
def embed_again(request: HttpRequest, memory_id: UUID) -> HttpResponse:
    """Returns a failed memory to the queue."""
    memory = get_object_or_404(Memory.objects.listed(), pk=memory_id)
    if embed.try_again([memory.pk]):
        record("memory.embed_again", obj=memory, data={"memories": 1})
        messages.success(request, "The memory is queued to be embedded again.")
    else:
        messages.warning(request, "The memory has not failed, or was queued meanwhile; nothing was done.")
    return redirect("admin:memories_memory_change", memory.pk)


@require_safe
@permission_required(["memories.view_document", "memories.view_documentsource"], raise_exception=True)
def document_source(request: HttpRequest, document_id: UUID) -> HttpResponse:
    """The text of a document as it was given, as a file."""
    source = get_object_or_404(DocumentSource.objects.select_related("document"), pk=document_id)
    name = source.document.name
    response = HttpResponse(source.text, content_type="text/plain; charset=utf-8")
    header = content_disposition_header(as_attachment=True, filename=name if "." in name else f"{name}.txt")
    response["Content-Disposition"] = header or "attachment"
    return response
