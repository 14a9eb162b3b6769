"""The pages Ingest and Search."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from django.conf import settings
from django.contrib import admin
from django.db import OperationalError
from django.db.models import Q
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, QueryDict
from django.shortcuts import render
from django.views.decorators.http import require_safe

from agents.models import Agent
from arcweb.jobs.models import Job
from arcweb.limited import limited
from arcweb.postgres import replica
from memories import boards, ingest
from memories.forms import MOST_FILES, IngestForm, Refused, SearchForm, is_uuid
from memories.highlight import LONGEST_MARKED, Piece, pieces, preview
from memories.left_out import MOST_COUNTED, LeftOut, left_out
from memories.models import Document
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
from memories.uploads import MEDIA_TYPES

#: Jobs up to which each is shown with its rate and its buttons; more of them have a line each.
MOST_IN_FULL = 4


@dataclass(frozen=True)
class Taken:
    """A text that is there now: its document, and the job that ingests it (None: nothing was to do)."""

    document: Document
    job: Job | None
    new: bool  #: stored by this very form


def ingest_page(request: HttpRequest) -> HttpResponse:
    """GET: the form, and what became of the jobs and documents in the address. POST: stores and queues."""
    refused: list[Refused] = []
    if request.method == "POST":
        form = IngestForm(request.POST, request.FILES)
        taken: list[Taken] = []
        if form.is_valid():
            taken, refused = _ingest(form)
            if taken and not refused and form.is_valid():
                return HttpResponseRedirect(f"?{_address(taken, str(form.cleaned_data['agent'].pk))}")
    else:
        form = IngestForm(initial={"agent": request.GET.get("agent")})
        taken = _taken(request)
    jobs = [one.job for one in taken if one.job]
    under_way = [job for job in jobs if job.is_active]
    context = {
        "taken": taken,
        "jobs": under_way if len(under_way) <= MOST_IN_FULL else [],
        "active": bool(under_way),
        "failed": sum(job.state in (Job.State.FAILED, Job.State.INTERRUPTED) for job in jobs),
        "address": _address(taken, ""),
        "new": sum(one.new for one in taken),
        "known": sum(not one.new for one in taken),
    }
    if request.method == "GET" and request.headers.get("HX-Target") == "outcome":
        return render(request, "admin/memories/_outcome.html", context)
    context |= {
        **admin.site.each_context(request),
        "title": "Ingest",
        "form": form,
        "refused": refused,
        "total": len(taken) + len(refused),
        "limit_mb": settings.ARC_MAX_UPLOAD_MB,
        "suffixes": list(MEDIA_TYPES),
        "most_files": MOST_FILES,
    }
    return render(request, "admin/memories/ingest.html", context)


def _ingest(form: IngestForm) -> tuple[list[Taken], list[Refused]]:
    """Stores what can be stored. An agent that is deleted meanwhile is the form's error."""
    taken: list[Taken] = []
    refused: list[Refused] = []
    for upload in form.uploads():
        if isinstance(upload, Refused):
            refused.append(upload)
            continue
        try:
            stored = ingest.store(form.cleaned_data["agent"], upload)
        except Agent.DoesNotExist:
            form.add_error("agent", "The agent was deleted meanwhile, with what was stored. Choose another.")
            return [], refused
        taken.append(Taken(stored.document, stored.job, stored.created))
    return taken, refused


def _address(taken: list[Taken], agent: str) -> str:
    """The query string of the page that shows these."""
    query = QueryDict(mutable=True)
    for one in taken:
        if one.new and one.job:
            query.appendlist("job", str(one.job.pk))
        else:
            query.appendlist("known", str(one.document.pk))
    if agent:
        query["agent"] = agent
    return query.urlencode()


def _taken(request: HttpRequest) -> list[Taken]:
    """What the address names, as far as this user may see it, in two queries."""
    wanted, known = (
        [str(UUID(key)) for key in request.GET.getlist(name)[:MOST_FILES] if is_uuid(key)]
        for name in ("job", "known")
    )
    if not request.user.has_perm("memories.view_document"):
        known = []
    if not wanted and not known:
        return []
    mine = Q(pk__in=wanted) | Q(unique_key__in=[f"{ingest.JOB_KIND}:{key}" for key in known])
    jobs = Job.objects.visible_to(request.user).filter(mine, kind=ingest.JOB_KIND).order_by("created_at")
    job_of = {str(job.params.get("document")): job for job in jobs}  # the newest of each document
    new = {key for key, job in job_of.items() if str(job.pk) in wanted}
    keys = [key for key in dict.fromkeys([*job_of, *known]) if is_uuid(key)]
    documents = {str(key): document for key, document in Document.objects.in_bulk(keys).items()}
    return [Taken(documents[key], job_of.get(key), key in new) for key in keys if key in documents]


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
@limited("search", "searches", applies=lambda request: "q" in request.GET)
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
    answered: replica.Answer[SearchResult] | None = None
    if asked and form.is_valid():
        chosen, provider = form.cleaned_data, get_provider()
        try:
            filters = form.filters()
            answered = replica.read(
                lambda: search(chosen["q"], provider, filters=filters, k=chosen["k"], mode=chosen["mode"])
            )
            result = answered.value
            boards.searched(result.hits)
            if result.route != "keyword" or not result.hits:
                left = replica.read(lambda: left_out(filters, searched_models(provider))).value
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
        "answered": answered if replica.configured() else None,
        "shown": [ShownHit.of(hit) for hit in result.hits] if result else [],
        "left": left,
        "most_counted": MOST_COUNTED,
        "filtered": any(request.GET.get(name) for name in ("agent", "type", "metadata")),
        "no_agents": not asked and not Agent.objects.exists(),
    }
    return render(request, "admin/memories/search.html", context)
