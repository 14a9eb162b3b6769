"""The pages Ingest and Search."""

from __future__ import annotations

from django.contrib import admin, messages
from django.db import OperationalError
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, QueryDict
from django.shortcuts import render
from django.urls import reverse

from agents.models import Agent
from arcweb.jobs.models import Job
from memories import ingest
from memories.forms import IngestForm, SearchForm, is_uuid
from memories.models import Memory
from memories.providers import get_provider
from memories.search import SearchInputError, SearchResult, is_statement_timeout, search, searched_models

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


def search_page(request: HttpRequest) -> HttpResponse:
    """The form and, when a query is given, its results. Everything stands in the address."""
    asked = "q" in request.GET
    form = SearchForm(request.GET if asked else None, initial={"agent": request.GET.get("agent")})
    result: SearchResult | None = None
    left_out = 0
    if asked and form.is_valid():
        provider = get_provider()
        data = form.cleaned_data
        try:
            result = search(
                data["q"],
                provider,
                filters=form.filters(),
                k=data["k"] or 10,
                mode=data["mode"] or "semantic",
            )
        except SearchInputError as error:
            form.add_error("q", str(error))
        except OperationalError as error:
            if not is_statement_timeout(error):
                raise
            form.add_error(
                None, "The search took too long and was stopped; choose an agent or fewer results."
            )
        else:
            left_out = Memory.objects.other_models(searched_models(provider))[:1000].count()
    context = {
        **admin.site.each_context(request),
        "title": "Search",
        "form": form,
        "result": result,
        "left_out": left_out,
        "no_agents": not Agent.objects.exists(),
    }
    return render(request, "admin/memories/search.html", context)
