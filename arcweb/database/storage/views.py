"""The pages of tables and indexes."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.contrib.admin.utils import unquote
from django.core.exceptions import BadRequest
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from arcweb.database.findings import worst_first
from arcweb.database.parts import part
from arcweb.database.rooms import context, database_page
from arcweb.database.storage import detail, grouped, indexes, judged, maintenance, tables
from arcweb.database.storage.indexes import Index

SORTS = {
    "size": lambda line: -line.total,
    "rows": lambda line: -line.rows,
    "dead": lambda line: -line.dead,
    "changes": lambda line: -line.changes,
    "scans": lambda line: -line.seq_scans,
    "name": lambda line: line.name,
}
INDEX_SORTS = {
    "size": lambda one: -one.size,
    "scans": lambda one: (one.scans, -one.size),
    "name": lambda one: (one.table_full_name, one.name),
}


@require_safe
@database_page("Tables")
def database_tables(request: HttpRequest) -> HttpResponse:
    """Every table with its sizes and its care; what is wrong with them on top."""
    found = part(tables.tables, what="The tables")
    vectors = part(tables.vector_columns, what="The columns of vectors")
    since = part(tables.counted_since, what="The age of the statistics")
    running = part(maintenance.under_way, what="Maintenance under way")
    sort = request.GET.get("sort", "size")
    sort = sort if sort in SORTS else "size"
    known = found.value or []
    columns = vectors.value or []
    lines = grouped.lines(known, columns)
    findings = worst_first(
        [*judged.of_tables(known), *judged.of_vectors({table.oid: table for table in known}, columns)]
    )
    return render(
        request,
        "admin/database/storage/tables.html",
        context(
            request,
            "Tables",
            trouble=found.trouble,
            troubles=[each.trouble for each in (vectors, since, running) if each.trouble],
            lines=sorted(lines, key=SORTS[sort]),
            sort=sort,
            findings=findings,
            total=sum(line.total for line in lines),
            cut=len(known) >= tables.MOST,
            most=tables.MOST,
            since=since.value,
            running=running.value or [],
            jobs=maintenance.jobs(),
        ),
    )


@require_safe
@database_page("Table")
def database_table(request: HttpRequest, schema: str, table: str) -> HttpResponse:
    """One table: its parts, its columns by size, its indexes, its care."""
    found = part(lambda: tables.table(unquote(schema), unquote(table)), what="The table")
    if found.known and found.value is None:
        raise Http404(f"This database has no table {unquote(schema)}.{unquote(table)}.")
    one = found.value
    more: dict[str, Any] = {"trouble": found.trouble}
    if one is not None:
        own = part(lambda: indexes.indexes(one.oid), what="Its indexes")
        since = part(tables.counted_since, what="The age of the statistics")
        vectors = part(tables.vector_columns, what="The columns of vectors")
        keys = part(indexes.unindexed, what="Its foreign keys")
        listed = own.value or []
        findings = worst_first(
            [
                *judged.of_tables([one]),
                *judged.of_vectors({one.oid: one}, vectors.value or []),
                *judged.of_indexes(listed, indexes.covered(listed), since.value),
                *judged.of_foreign_keys(
                    key for key in keys.value or [] if key.table_full_name == one.full_name
                ),
            ]
        )
        bloat = part(lambda: detail.bloat(one), what="The empty space")
        more |= {
            "table": one,
            "indexes": _judge(listed),
            "indexes_trouble": own.trouble,
            "measured": part(lambda: detail.columns(one), what="The sizes of the columns"),
            "parameters": part(lambda: detail.parameters(one), what="The table's parameters").value,
            "bloat": bloat,
            "bloat_unknown": bloat.value if isinstance(bloat.value, str) else "",
            "findings": findings,
            "since": since.value,
            "unused_unknown": judged.why_unknown(since.value) if since.known else since.trouble,
            "may_not": maintenance.may_not(one),
            "jobs": [job for job in maintenance.jobs() if job.target_url == request.path],
            "sampled": detail.SAMPLED,
        }
    name = f"{unquote(schema)}.{unquote(table)}"
    return render(request, "admin/database/storage/table.html", context(request, name, **more))


@require_safe
@database_page("Indexes")
def database_indexes(request: HttpRequest) -> HttpResponse:
    """Every index with its use; invalid, duplicate, unused and missing ones on top."""
    found = part(indexes.indexes, what="The indexes")
    keys = part(indexes.unindexed, what="The foreign keys")
    since = part(tables.counted_since, what="The age of the statistics")
    running = part(maintenance.under_way, what="Maintenance under way")
    known = found.value or []
    sort = request.GET.get("sort", "size")
    sort = sort if sort in INDEX_SORTS else "size"
    findings = worst_first(
        [
            *judged.of_indexes(known, indexes.covered(known), since.value),
            *judged.of_foreign_keys(keys.value or []),
        ]
    )
    return render(
        request,
        "admin/database/storage/indexes.html",
        context(
            request,
            "Indexes",
            trouble=found.trouble,
            troubles=[each.trouble for each in (keys, since, running) if each.trouble],
            indexes=sorted(
                (pair for pair in _judge(known) if not pair[0].is_attached),
                key=lambda pair: INDEX_SORTS[sort](pair[0]),
            ),
            attached=sum(one.is_attached for one in known),
            vectors=[one for one in known if one.is_vector],
            missing=keys.value or [],
            least_rows=judged.UNINDEXED_ROWS,
            sort=sort,
            findings=findings,
            total=sum(one.size for one in known),
            cut=len(known) >= indexes.MOST,
            most=indexes.MOST,
            since=since.value,
            unused_unknown=judged.why_unknown(since.value) if since.known else since.trouble,
            running=running.value or [],
            jobs=maintenance.jobs(),
        ),
    )


@require_POST
@database_page("Maintenance")
def database_maintain(request: HttpRequest) -> HttpResponse:
    """Queue a VACUUM, ANALYZE, REINDEX CONCURRENTLY, or the missing index of a foreign key."""
    action = request.POST.get("action", "")
    if action not in ("vacuum", "analyze", "reindex", "create"):
        raise BadRequest("The action is vacuum, analyze, reindex or create.")
    schema, name = request.POST.get("schema", ""), request.POST.get("name", "")
    back = request.POST.get("back", "")
    if not url_has_allowed_host_and_scheme(back, None):
        back = reverse("admin:database_tables")
    try:
        job = maintenance.ask(action, schema, name, columns=request.POST.getlist("column"))
    except maintenance.MaintenanceError as error:
        messages.error(request, str(error))
    else:
        messages.success(request, f"{job.title} is queued; it is shown below until it ends.")
    return HttpResponseRedirect(back)


@require_http_methods(["GET", "HEAD", "POST"])
@database_page("Drop an index")
def database_index_drop(request: HttpRequest, schema: str, index: str) -> HttpResponse:
    """Drop an index that is of no use, after its name was typed."""
    one = indexes.index(unquote(schema), unquote(index))
    if one is None:
        raise Http404(f"This database has no index {unquote(schema)}.{unquote(index)}.")
    reason = maintenance.why_drop(one)
    why_not = maintenance.may_not_drop(one) or (
        ""
        if reason
        else f"{one.full_name} is in use, and nothing else does its work: it is not dropped from here."
    )
    wrong = ""
    if request.method == "POST" and not why_not:
        if request.POST.get("typed", "").strip() == one.name:
            try:
                job = maintenance.ask("drop", one.schema, one.name)
            except maintenance.MaintenanceError as error:
                why_not = str(error)
            else:
                messages.success(request, f"{job.title} is queued; it is shown below until it ends.")
                return HttpResponseRedirect(reverse("admin:database_indexes"))
        else:
            wrong = f"Type {one.name} to confirm."
    return render(
        request,
        "admin/database/storage/drop_index.html",
        context(
            request,
            f"Drop {one.full_name}",
            index=one,
            reason=reason,
            why_not=why_not,
            wrong=wrong,
            now=timezone.now(),
        ),
        status=409 if why_not and request.method == "POST" else 400 if wrong else 200,
    )


def _judge(found: list[Index]) -> list[tuple[Index, str]]:
    """Each with the word that stands beside its use."""
    needless = indexes.covered(found)
    judged_words = []
    for one in found:
        if not one.is_valid:
            word = "being built" if one.is_built else "invalid"
        elif one.oid in needless:
            word = "needless"
        else:
            word = "no scan" if not one.scans and not one.guards else ""
        judged_words.append((one, word))
    return judged_words
