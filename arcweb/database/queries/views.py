"""The pages Queries: the list, one statement with its plan, a plan of any statement, and the reset."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django.contrib import messages
from django.core.exceptions import BadRequest, PermissionDenied
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.dateparse import parse_datetime
from django.views.decorators.http import require_http_methods, require_safe

from arcweb.charts import Drawing, draw, quantity, summary
from arcweb.database.findings import Finding
from arcweb.database.parts import part
from arcweb.database.queries import explain, findings, snapshots, statistics, suggestions
from arcweb.database.queries.lexer import first_word
from arcweb.database.queries.listing import MOST, PERIODS, SORTS, WHOSE, choose, listing
from arcweb.database.queries.plans import Plan, plan
from arcweb.database.queries.snapshots import Period
from arcweb.database.queries.statistics import TO_TYPE, NoStatistics, Statistics, total
from arcweb.database.queries.suggestions import Suggestion
from arcweb.database.queries.texts import clipped, laid_out, masked, parameters, plannable
from arcweb.database.rooms import context, database_page
from arcweb.database.standing import standing
from arcweb.events import record
from arcweb.events.sentences import describe
from arcweb.panels import Chart

describe("statements.reset", "reset the statistics of {statements} statements of PostgreSQL")
describe("statement.measured", "ran a statement to measure its plan")
TITLE = "Queries"
SEE_TEXT, EXPLAIN = "database.view_statements", "database.explain_statement"
#: Snapshots that may be chosen as the beginning of the period: the newest, then one an hour, then one a day.
OFFERED = 6
CHARTS = {"day": ("24 hours", timedelta(days=1)), "week": ("7 days", timedelta(days=7))}


@require_safe
@database_page(TITLE)
def query_list(request: HttpRequest) -> HttpResponse:
    """What each statement cost in a period, by `period` or `since`, `sort`, `q`, `role` and `whose`."""
    asked = {
        name: request.GET.get(name, "")[:200] for name in ("period", "since", "sort", "q", "role", "whose")
    }
    period = asked["period"] if asked["period"] in PERIODS else "hour"
    sort = asked["sort"] if asked["sort"] in SORTS else "total"
    whose = asked["whose"] if asked["whose"] in WHOSE else ""
    may_see = request.user.has_perm(SEE_TEXT)
    since = _moment(asked["since"])
    known = standing()
    shown: dict[str, Any] = {
        **context(request, TITLE),
        "period": "" if since else period,
        "periods": {name: title for name, (title, _) in PERIODS.items()},
        "sort": sort,
        "sorts": {name: title for name, (title, _) in SORTS.items()},
        "whose": whose,
        "whose_words": WHOSE,
        "q": asked["q"] if may_see else "",
        "role": asked["role"],
        "own_role": known.role,
        "may_see": may_see,
        "most": MOST,
        "to_type": TO_TYPE,
        "kept_query": _query(request, "period", "since"),
        "sort_query": _query(request, "sort"),
    }
    try:
        now = part(statistics.read, what="The statistics of statements", seconds=2)
        if now.value is None:
            return render(request, "admin/database/queries/list.html", {**shown, "trouble": now.trouble})
        found_period = choose(period, since, now.value)
        said = part(findings.find, what="What is slow")
    except NoStatistics as error:
        return render(request, "admin/database/queries/list.html", {**shown, "missing": str(error)})
    found = listing(
        found_period, sort=sort, text=shown["q"], role=asked["role"], whose=whose, own_role=known.role
    )
    all_findings: list[Finding] = list(said.value or ())
    shown |= {
        "found": found,
        "lines": found.lines,
        "words": _words(found_period, PERIODS[period][1] if since is None else None, since),
        "offered": _offered(since),
        "findings": all_findings,
        "findings_trouble": said.trouble,
        "worst": all_findings[0] if all_findings else None,
        "dominant": findings.dominant(found_period),
        "slow_ms": findings.SLOW_MS,
        "suggested": part(suggestions.suggestions, what="Indexes that are lacking", seconds=2)
        if may_see
        else None,
        "why_no_reset": statistics.why_no_reset(known.role),
        "newest": snapshots.listed(1),
    }
    return render(request, "admin/database/queries/list.html", shown)


@require_http_methods(["GET", "HEAD", "POST"])
@database_page("Statement")
def query_page(request: HttpRequest, queryid: int) -> HttpResponse:
    """One statement in all roles: its text, its figures over time, and by POST its plan."""
    may_see = request.user.has_perm(SEE_TEXT)
    chart = request.GET.get("chart") if request.GET.get("chart") in CHARTS else "day"
    shown: dict[str, Any] = {
        **context(request, f"Statement {queryid}"),
        "queryid": queryid,
        "may_see": may_see,
        "chart": chart,
        "charts": {name: title for name, (title, _) in CHARTS.items()},
        "to_type": TO_TYPE,
    }
    try:
        now = statistics.read(queryid)
        text = statistics.whole_text(queryid) if may_see else ""
    except NoStatistics as error:
        return render(request, "admin/database/queries/query.html", {**shown, "missing": str(error)})
    entries = list(now.entries.values())
    kept = masked(text)
    shown |= {
        "entries": entries,
        "text": clipped(laid_out(kept)),
        "word": first_word(entries[0].text) if entries else "",
        "roles": sorted({entry.role for entry in entries}),
        "figures": _figures(now),
        "drawings": _drawings(queryid, now, *CHARTS[str(chart)]),
        "worst_call": max((entry.worst for entry in entries), default=0.0),
        "waited": sum(entry.waited for entry in entries),
        "explainable": first_word(text) in explain.READS,
    }
    shown |= _planned(request, plannable(laid_out(kept)), queryid)
    if may_see:
        known = part(suggestions.suggestions, what="Indexes that are lacking", seconds=2)
        shown["suggested"] = _unique(
            [*shown.get("suggested", ()), *(one for one in known.value or () if queryid in one.queryids)]
        )
    return render(request, "admin/database/queries/query.html", shown, status=200 if entries else 404)


@require_http_methods(["GET", "HEAD", "POST"])
@database_page("Explain a statement")
def explain_page(request: HttpRequest) -> HttpResponse:
    """The plan of a statement that somebody types."""
    if not request.user.has_perm(SEE_TEXT):
        raise PermissionDenied
    shown = {**context(request, "Explain a statement"), **_planned(request, "", None)}
    return render(request, "admin/database/queries/explain.html", shown)


@require_http_methods(["GET", "HEAD", "POST"])
@database_page("Reset the statistics of statements")
def query_reset(request: HttpRequest) -> HttpResponse:
    """Forget what was counted: GET asks, POST wants the word typed."""
    known = standing()
    try:
        now = statistics.read()
    except NoStatistics as error:
        raise BadRequest(str(error)) from error
    why_not = statistics.why_no_reset(known.role)
    if request.method == "POST":
        if why_not:
            raise BadRequest(why_not)
        if request.POST.get("typed", "").strip() == "reset":
            snapshots.take()  # what was counted until now stays in the charts
            with transaction.atomic():
                record(
                    "statements.reset",
                    object_type="postgres.statements",
                    data={"statements": len(now.entries)},
                )
                statistics.reset()
            messages.success(
                request, "The statistics of statements begin anew now. Snapshots taken before are kept."
            )
            return redirect("admin:database_queries")
        messages.error(request, "Nothing was done: to confirm, type reset as it is.")
    return render(
        request,
        "admin/database/queries/reset.html",
        {
            **context(request, "Reset the statistics of statements"),
            "now": now,
            "whole": total(entry.counters for entry in now.entries.values()),
            "why_not": why_not,
        },
    )


def _planned(request: HttpRequest, text: str, queryid: int | None) -> dict[str, Any]:
    """The form, and after POST the plan or why there is none."""
    may = request.user.has_perm(EXPLAIN) and request.user.has_perm(SEE_TEXT)
    shown: dict[str, Any] = {
        "may_explain": may,
        "statement": text,
        "analyze": False,
        "generic": parameters(text),
        "run_seconds": explain.RUN_SECONDS,
        "most_characters": explain.LONGEST,
    }
    if request.method != "POST":
        return shown
    if not may:
        raise PermissionDenied
    statement = request.POST.get("statement", "").replace("\r\n", "\n")
    analyze = request.POST.get("analyze") == "on"
    shown |= {"statement": statement, "analyze": analyze, "generic": parameters(statement)}
    try:
        if analyze:
            explain.explain(statement)  # refused before it is recorded that it ran
            record(
                "statement.measured",
                object_type="postgres.statement",
                object_id="" if queryid is None else str(queryid),
            )
        made: Plan = plan(explain.explain(statement, analyze=analyze).answer)
    except explain.Refused as refusal:
        return {**shown, "refused": str(refusal)}
    found = part(
        lambda: suggestions.for_plan(made.answer, queryid), what="Indexes that are lacking", seconds=1
    )
    return {**shown, "plan": made, "suggested": found.value or [], "suggested_trouble": found.trouble}


def _figures(now: Statistics) -> list[tuple[str, str, Any, Period]]:
    """(title, since when in words, counters, period) of this statement for each period that is known."""
    found = []
    seen: set[datetime | None] = set()
    for title, span in PERIODS.values():
        snapshot = None if span is None else snapshots.before(now.read_at - span)
        if span is not None and snapshot is None:
            continue
        period = snapshots.since(snapshot, now)
        if period.began in seen and span is not None:
            continue  # no snapshot is that old: it would say the same again
        seen.add(period.began)
        counters = total(change.counted for change in period.changes)
        found.append((title, _words(period, span, None), counters, period))
    return found


def _drawings(queryid: int, now: Statistics, words: str, span: timedelta) -> list[Drawing]:
    steps = snapshots.history(queryid, now.read_at - span, now)
    means = tuple((at, None if counted is None else counted.mean) for at, _, counted in steps)
    calls = tuple(
        (at, None if counted is None else counted.calls * 60 / seconds) for at, seconds, counted in steps
    )
    when = f"in the last {words}"
    return [
        draw(Chart(title, points, unit, summary(points, unit, when)), from_zero=True)
        for title, points, unit in (("Mean", means, "ms"), ("Calls", calls, "a minute"))
        if len(steps) > 1
    ]


def _unique(several: list[Suggestion]) -> list[Suggestion]:
    return list({one.statement: one for one in several}.values())


def _moment(text: str) -> datetime | None:
    try:
        moment = parse_datetime(text) if text else None
    except ValueError:
        return None
    return moment if moment is not None and moment.tzinfo is not None else None


def _words(period: Period, span: timedelta | None, asked: datetime | None) -> str:
    """Since when the figures count: "since 03:10 UTC (61 min)"."""
    if period.began is None:
        return "since an unknown time"
    form = "%H:%M UTC" if period.now.read_at - period.began < timedelta(hours=20) else "%Y-%m-%d %H:%M UTC"
    text = f"since {period.began.strftime(form)} ({_length(period.seconds or 0)})"
    if period.cut:
        return f"{text}: the statistics were reset then, later than asked for"
    wanted = span.total_seconds() if span else None
    if wanted and (period.seconds or 0) < wanted * 0.95:
        return f"{text}: no snapshot is older"
    if period.snapshot is None:
        return f"{text}, when the statistics were reset"
    return text


def _length(seconds: float) -> str:
    for most, step, unit in ((7200, 60, "min"), (172_800, 3600, "h")):
        if seconds < most:
            return f"{round(seconds / step)} {unit}"
    return quantity(round(seconds / 86400, 1), "days")


def _offered(chosen: datetime | None) -> list[tuple[str, str]]:
    """(value, words) of snapshots from which may be counted."""
    found: list[datetime] = []
    for slot, read_at, _ in snapshots.listed(2200):
        step = timedelta(hours=1) if len(found) < OFFERED + 24 else timedelta(days=1)
        if len(found) < OFFERED or found[-1] - slot >= step:
            found.append(read_at)
    if chosen is not None and chosen not in found:
        found.append(chosen)
    return [(moment.isoformat(), moment.strftime("%Y-%m-%d %H:%M")) for moment in found[:60]]


def _query(request: HttpRequest, *without: str) -> str:
    """The address's own query but for these, to be continued by "&x=y"."""
    query = request.GET.copy()
    for name in without:
        query.pop(name, None)
    for name in [name for name, value in query.items() if not value]:
        query.pop(name)
    return f"{query.urlencode()}&" if query else ""
