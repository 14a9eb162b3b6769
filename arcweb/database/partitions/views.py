"""The page of partitions, and what is done from it."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from arcweb.charts import size
from arcweb.database.findings import worst_first
from arcweb.database.partitions import archive, catalog, look, months, moving, retention
from arcweb.database.partitions.catalog import Partition, Table
from arcweb.database.partitions.forms import PolicyForm
from arcweb.database.partitions.models import PartitionArchive
from arcweb.database.partitions.retention import MAKE, MOVE, Policy, Preview
from arcweb.database.parts import part
from arcweb.database.rooms import context, database_page
from arcweb.events import record
from arcweb.events.partitions import MONTHS_AHEAD
from arcweb.events.sentences import describe
from arcweb.jobs import ledger
from arcweb.jobs.models import Job

CHANGE = "database.change_partitions"
#: Seconds that the exact count of one partition may take.
COUNTING = 8.0
#: Archives on the page, newest first.
MOST_ARCHIVES = 24
#: Seconds that looking through the default partition may take.
LOOKING = 3.0

describe("partition.make_asked", "asked for the next {months} partitions of events")
describe("partition.move_asked", "asked for the default partition of events to be emptied")


@require_safe
@database_page("Partitions")
def partitions(request: HttpRequest) -> HttpResponse:
    """Every partitioned table; events by month. ?exact=name counts one partition of events.

    ?keep=… shows what a retention would drop, before anybody chooses it.
    """
    asked = request.GET.get("exact", "")
    found = part(catalog.tables, what="The partitions", seconds=1.5)
    tables = found.value or []
    events = next((table for table in tables if table.ours), None)
    findings = part(look.find, what="What the partitions need")
    policy = retention.policy()
    form = PolicyForm(request.GET) if "keep" in request.GET else PolicyForm.of(policy)
    chosen = form.policy() if form.is_valid() else policy
    counted = None
    if events and (partition := _named(events, asked)):
        counted = part(
            lambda: catalog.exact_rows(partition), what=f"The rows of {partition.name}", seconds=COUNTING
        )
    strays = None
    if events and events.default and not part(catalog.default_is_empty, what="The default partition").value:
        strays = part(moving.months_in_default, what="The months in the default partition", seconds=LOOKING)
    archives = list(PartitionArchive.objects.order_by("-verified_at")[: MOST_ARCHIVES + 1])
    return render(
        request,
        "admin/database/partitions/partitions.html",
        context(
            request,
            "Partitions",
            found=found,
            findings=worst_first(findings.value or []),
            look=findings,
            events=events,
            rows=_rows(events, policy, asked, counted) if events else [],
            others=[_other(table) for table in tables if not table.ours],
            ahead=max(0, events.ahead) if events else 0,
            months_ahead=MONTHS_AHEAD,
            strays=strays,
            policy=policy,
            form=form,
            preview=_preview(retention.preview(events, chosen.keep_months)) if events else None,
            previewed=form.is_bound and "keep" in request.GET and form.is_valid(),
            archives=[_archive(one) for one in archives[:MOST_ARCHIVES]],
            more_archives=len(archives) > MOST_ARCHIVES,
            folder=archive.folder(),
            active=_active(),
            may_change=request.user.has_perm(CHANGE),
            total=size(events.bytes) if events else "",
        ),
    )


@require_POST
@database_page("Make partitions")
def make(request: HttpRequest) -> HttpResponse:
    """A job that makes the next partitions of events."""
    with transaction.atomic():
        record(
            "partition.make_asked",
            object_type="postgres.partition",
            object_id="events",
            data={"months": MONTHS_AHEAD},
        )
        job = ledger.enqueue(
            MAKE,
            target="events.events",
            target_url=reverse("admin:database_partitions"),
            params={"months": MONTHS_AHEAD},
            title=f"Make the next {MONTHS_AHEAD} partitions of events",
            unique_key=MAKE,
        )
    return _follow(request, job)


@require_POST
@database_page("Empty the default partition")
def move(request: HttpRequest) -> HttpResponse:
    """A job that moves the rows of the default partition into their months."""
    with transaction.atomic():
        record("partition.move_asked", object_type="postgres.partition", object_id=catalog.DEFAULT)
        job = ledger.enqueue(
            MOVE,
            target="events.events_default",
            target_url=reverse("admin:database_partitions"),
            params={},
            title="Move the rows of events.events_default into their months",
            unique_key=MOVE,
        )
    return _follow(request, job)


@require_http_methods(["GET", "HEAD", "POST"])
@database_page("Keep events")
def policy(request: HttpRequest) -> HttpResponse:
    """What a retention would drop (?keep=&archive=&details=), and setting it.

    One that would drop something now asks for the name of the table.
    """
    form = PolicyForm(request.POST if request.method == "POST" else request.GET)
    back = reverse("admin:database_partitions")
    events = catalog.events_table()
    if events is None:
        raise Http404("There is no table events.events.")
    if not form.is_valid():
        messages.error(request, f"Nothing was changed. Full months kept: {form.errors.get('keep', [''])[0]}")
        return HttpResponseRedirect(f"{back}#retention")
    chosen = form.policy()
    if chosen.details and not request.user.has_perm("events.export_personal"):
        raise PermissionDenied
    preview = retention.preview(events, chosen.keep_months)
    if request.method == "POST":
        if not preview.partitions or request.POST.get("typed", "").strip() == events.qualified:
            retention.set_policy(chosen)
            messages.success(request, f"Kept from now on: {_kept(chosen)}. The job of 03:27 UTC acts on it.")
            return HttpResponseRedirect(f"{back}#retention")
        messages.error(request, f"Nothing was changed: type {events.qualified} to confirm.")
    return render(
        request,
        "admin/database/partitions/policy.html",
        context(
            request,
            "Keep events",
            form=form,
            chosen=chosen,
            kept=_kept(chosen),
            preview=_preview(preview),
            typed=events.qualified,
            back=back,
        ),
    )


@require_http_methods(["GET", "HEAD", "POST"])
@database_page("Drop a month")
def drop(request: HttpRequest) -> HttpResponse:
    """What dropping ?partition= means, and the job that does it after its name was typed."""
    events = catalog.events_table()
    partition = _named(events, request.GET.get("partition", "")) if events else None
    if events is None or partition is None:
        raise Http404("events.events has no such partition; it may be dropped already.")
    why_not = retention.why_not(events, partition)
    personal = request.user.has_perm("events.export_personal")
    if request.method == "POST" and not why_not:
        archived, details = request.POST.get("archive") == "on", request.POST.get("details") == "on"
        if details and not personal:
            raise PermissionDenied
        if request.POST.get("typed", "").strip() == partition.name:
            with transaction.atomic():
                record(
                    "partition.drop_asked",
                    object_type="postgres.partition",
                    object_id=partition.name,
                    label=partition.qualified,
                    data={"rows": partition.rows, "archive": "yes" if archived else "no", "details": details},
                )
                job = retention.enqueue_drop(partition, archive=archived, details=details and archived)
            return _follow(request, job)
        messages.error(request, f"Nothing was dropped: type {partition.name} to confirm.")
    counted = part(
        lambda: catalog.exact_rows(partition), what=f"The rows of {partition.name}", seconds=LOOKING
    )
    return render(
        request,
        "admin/database/partitions/drop.html",
        context(
            request,
            f"Drop {partition.name}",
            partition=partition,
            why_not=why_not,
            counted=counted,
            size=size(partition.bytes or 0),
            personal=personal,
            folder=archive.folder(),
            back=reverse("admin:database_partitions"),
        ),
        status=409 if request.method == "POST" and why_not else 200,
    )


def _follow(request: HttpRequest, job: Job) -> HttpResponse:
    messages.success(request, "The job is on its way; this page follows it to its end.")
    return HttpResponseRedirect(reverse("admin:jobs_job_change", args=[job.pk]))


def _named(table: Table, name: str) -> Partition | None:
    return next((one for one in table.partitions if one.name == name), None)


def _kept(chosen: Policy) -> str:
    if chosen.keep_months is None:
        return "all events"
    several = (
        f"{chosen.keep_months} full month{'s' if chosen.keep_months != 1 else ''} beside the present one"
    )
    if not chosen.archive:
        return f"{several}, without an archive"
    return f"{several}, older ones in archives {'with' if chosen.details else 'without'} names and addresses"


def _rows(table: Table, policy: Policy, asked: str, counted: Any) -> list[dict[str, Any]]:
    """The lines of the table of months, newest first, the default partition last."""
    going = {one.name for one in retention.preview(table, policy.keep_months).partitions}
    lines = []
    for one in reversed(table.timed):
        if one.first is None or one.until is None:
            continue
        present = one.first <= table.now < one.until
        lines.append(
            {
                "partition": one,
                "size": size(one.bytes or 0),
                "age": months.age(one.first, table.now),
                "state": "good" if present else "idle",
                "word": "Written now" if present else "Made ahead" if one.first > table.now else "Past",
                "going": one.name in going,
                "may_drop": not retention.why_not(table, one),
                "counted": counted if one.name == asked else None,
            }
        )
    return lines


def _other(table: Table) -> dict[str, Any]:
    step = table.step
    return {
        "table": table,
        "size": size(table.bytes),
        "step": "by month" if step == "month" else f"every {step}" if step else "not regular in time",
        "ahead": table.ahead if step else None,
        "partitions": [{"partition": one, "size": size(one.bytes or 0)} for one in table.partitions],
    }


def _preview(preview: Preview) -> dict[str, Any]:
    several = preview.partitions
    return {
        "partitions": several,
        "lines": [{"partition": one, "size": size(one.bytes or 0)} for one in several],
        "before": preview.before,
        "rows": preview.rows,
        "size": size(preview.bytes),
        "first": several[0] if several else None,
        "last": several[-1] if several else None,
    }


def _archive(one: PartitionArchive) -> dict[str, Any]:
    return {"archive": one, "size": size(one.bytes)}


def _active() -> list[Job]:
    """Jobs on partitions that are queued or run."""
    return list(Job.objects.active().filter(kind__in=[MAKE, MOVE, retention.DROP]).order_by("queued_at")[:20])
