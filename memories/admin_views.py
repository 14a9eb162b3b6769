"""The pages Ingest and Search."""

from __future__ import annotations

from dataclasses import dataclass

from django.contrib import admin, messages
from django.db import OperationalError
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, QueryDict
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_safe

from agents.models import Agent
from arcweb.jobs.models import Job
from memories import ingest
from memories.forms import IngestForm, SearchForm, is_uuid
from memories.highlight import LONGEST_MARKED, Piece, pieces, preview
from memories.left_out import MOST_COUNTED, LeftOut, left_out
from memories.providers import get_provider
from memories.search import (
    DEFAULT_RESULTS,
    Hit,
    SearchInputError,
    SearchResult,
    is_statement_timeout,
    search,
    searched_models,
)

#: Jobs shown at once on the page of an ingestion.
MOST_JOBS = 50


def ingest_page(request: HttpRequest) -> HttpResponse:
    """GET: the form, and the progress of the jobs named in the address. POST: stores and queues."""
    if request.method == "POST":
        form = IngestForm(request.POST, request.FILES)
        if form.is_valid():
            response = _ingest(request, form)
            if response:
                return response
    else:
        agent = request.GET.get("agent")
        form = IngestForm(initial={"agent": agent})
    wanted = [job for job in request.GET.getlist("job")[:MOST_JOBS] if is_uuid(job)]
    jobs = Job.objects.visible_to(request.user).filter(pk__in=wanted, kind=ingest.JOB_KIND)
    context = {
        **admin.site.each_context(request),
        "title": "Ingest",
        "form": form,
        "jobs": jobs.order_by("created_at"),
    }
    return render(request, "admin/memories/ingest.html", context)


def _ingest(request: HttpRequest, form: IngestForm) -> HttpResponse | None:
    """Stores what can be stored; None when nothing was, so that the form is shown again as it is."""
    good, refused = form.uploads()
    for sentence in refused:
        messages.error(request, sentence)
    query = QueryDict(mutable=True)
    for upload in good:
        try:
            stored = ingest.store(form.cleaned_data["agent"], upload)
        except Agent.DoesNotExist:
            messages.error(
                request, "The agent was deleted meanwhile; nothing more was stored. Choose another."
            )
            return None
        if stored.created:
            messages.success(request, f"{upload.name!r} is stored and waits to be embedded.")
        else:
            messages.warning(
                request,
                f"{upload.name!r} holds the same text as {stored.document.name!r}, "
                "which this agent has already; it was not stored again.",
            )
        if stored.job:
            query.appendlist("job", str(stored.job.pk))
    if not good:
        return None
    query["agent"] = str(form.cleaned_data["agent"].pk)
    return HttpResponseRedirect(f"{reverse('admin:memories_ingest')}?{query.urlencode()}")


@dataclass(frozen=True)
class ShownHit:
    """A result as the page shows it: a preview, and the passage that opens in place."""

    hit: Hit
    preview: list[Piece]
    passage: list[Piece]
    cut: bool  #: the passage is longer than what is shown of it

    @classmethod
    def of(cls, hit: Hit) -> ShownHit:
        return cls(
            hit,
            preview(hit.content, hit.words),
            pieces(hit.content, hit.words, last=LONGEST_MARKED),
            len(hit.content) > LONGEST_MARKED,
        )


@require_safe
def search_page(request: HttpRequest) -> HttpResponse:
    """The form and, when a query is given, its results. Everything stands in the address."""
    asked = "q" in request.GET
    data = request.GET.copy()
    for name, default in (("mode", "semantic"), ("k", str(DEFAULT_RESULTS))):
        if not data.get(name):
            data[name] = default
    form = SearchForm(data) if asked else SearchForm(initial=data.dict())
    result: SearchResult | None = None
    left: LeftOut | None = None
    if asked and form.is_valid():
        chosen, provider = form.cleaned_data, get_provider()
        try:
            result = search(chosen["q"], provider, filters=form.filters(), k=chosen["k"], mode=chosen["mode"])
            if result.route != "keyword" or not result.hits:
                left = left_out(form.filters(), searched_models(provider))
        except SearchInputError as error:
            form.add_error("q", str(error))
        except OperationalError as error:
            if not is_statement_timeout(error):
                raise
            form.add_error(
                None, "The search took too long and was stopped; choose an agent or fewer results."
            )
    context = {
        **admin.site.each_context(request),
        "title": "Search",
        "form": form,
        "result": result,
        "shown": [ShownHit.of(hit) for hit in result.hits] if result else [],
        "left": left,
        "most_counted": MOST_COUNTED,
        "filtered": any(request.GET.get(name) for name in ("agent", "type", "metadata")),
        "no_agents": not asked and not Agent.objects.exists(),
    }
    return render(request, "admin/memories/search.html", context)
