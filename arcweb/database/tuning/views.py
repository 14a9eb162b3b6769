"""The settings: what they are and should be, changing one after a look at the difference, and the restart."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import groupby
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.core.exceptions import BadRequest
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from arcweb.database.findings import worst_first
from arcweb.database.parts import part
from arcweb.database.rooms import context, database_page
from arcweb.database.tuning import changing, judged, load, machine, reading, units
from arcweb.database.tuning.catalogue import SETTINGS
from arcweb.database.tuning.rules import Load, Machine, worst_case
from arcweb.embedded import restart
from arcweb.events import record

SAY: dict[str, Any] = {"good": messages.success, "warn": messages.warning, "bad": messages.error}
#: Seconds that the outcome of a restart is told on the page.
TOLD_FOR = 3600


@require_safe
@database_page("Settings")
def database_tuning(request: HttpRequest) -> HttpResponse:
    """Current against recommended, with the reason; the worst case of memory; what waits for a restart."""
    stated = request.GET.get("ram", "").strip()
    ram = units.memory(stated)
    cores = request.GET.get("cores", "").strip()
    wrong = "The memory is a size, such as 16GB." if stated and ram is None else ""
    if cores and not (cores.isascii() and cores.isdigit() and len(cores) < 6 and 0 < int(cores) <= 10_000):
        wrong, cores = "The cores are a whole number, such as 4.", ""
    asked_cores = int(cores) if cores else None

    found = part(lambda: reading.parameters(SETTINGS), what="The settings")
    known_machine = part(lambda: machine.machine(ram, asked_cores), what="The machine")
    known_load = part(load.load, what="The load of the last week", seconds=1.5)
    waits = part(reading.pending, what="What waits for a restart")
    files = part(_files, what="The faults of the configuration files")
    now = known_machine.value or Machine(None, None, "not known")
    busy = known_load.value or Load()
    lines = reading.lines(found.value or {}, now, busy)
    worst = reading.worst(found.value or {})
    peak = busy.peak_connections
    worst_at_peak = reading.worst(found.value or {}, peak) if peak is not None else None
    why_no_files, errors = files.value or ("", [])
    findings = worst_first(
        [
            *judged.of_file_errors(errors),
            *judged.of_pending(waits.value or {}),
            *judged.of_worst(worst_at_peak, now),
            *judged.of_lines(lines),
        ]
    )
    unknown = sum(
        line.advice.value is None and line.advice.fits is None and not _free(line) for line in lines
    )
    return render(
        request,
        "admin/database/tuning/tuning.html",
        context(
            request,
            "Settings",
            trouble=found.trouble,
            troubles=[each.trouble for each in (known_machine, known_load, waits, files) if each.trouble],
            groups=[(name, list(each)) for name, each in groupby(lines, lambda line: line.setting.group)],
            count=len(lines),
            unknown=unknown,
            findings=findings,
            machine=now,
            load=busy,
            wrong=wrong,
            stated=stated,
            cores=cores,
            worst=worst,
            worst_at_peak=worst_at_peak,
            max_connections=found.value["max_connections"].words if found.value else "",
            pending=waits.value or {},
            why_no_files=why_no_files,
            embedded=settings.ARC_EMBEDDED,
            restarted=_outcome(),
            locked=sorted({line.why_not for line in lines if line.why_not})[:1],
        ),
    )


@require_http_methods(["GET", "HEAD", "POST"])
@database_page("Change a setting")
def database_setting(request: HttpRequest, name: str) -> HttpResponse:
    """Three steps: type a value, or choose the reset; see the difference, type the name; it is set."""
    setting = SETTINGS.get(name)
    if setting is None:
        raise Http404(f"{name} is not changed from here.")
    everything = reading.parameters(SETTINGS)
    one = everything.get(name)
    if one is None:
        raise Http404(f"This server has no setting {name}.")
    step = request.POST.get("step", "") if request.method == "POST" else ""
    if step not in ("", "look", "set"):
        raise BadRequest("The step of a change is look or set.")
    now = part(machine.machine, what="The machine").value or Machine(None, None, "not known")
    busy = part(load.load, what="The load", seconds=1.5).value or Load()
    line = next(each for each in reading.lines(everything, now, busy) if each.setting.name == name)
    why_not = reading.why_not(one)
    resets = bool(request.POST.get("reset")) if step else False
    value = request.POST.get("value", "").strip() if step else line.recommended or one.words
    shown: dict[str, Any] = {
        "setting": setting,
        "one": one,
        "line": line,
        "why_not": why_not,
        "value": value,
        "resets": resets,
        "may_reload": reading.may_reload(),
        "statement": f"ALTER SYSTEM RESET {name};" if resets else f"ALTER SYSTEM SET {name} = '{value}';",
        "embedded": settings.ARC_EMBEDDED,
    }

    def page(status: int = 200, **more: Any) -> HttpResponse:
        whole = context(request, f"Change {name}", **{**shown, **more})
        return render(request, "admin/database/tuning/change.html", whole, status=status)

    if why_not:
        return page(409 if step else 200)
    if not step:
        return page()
    if not resets:
        if wrong := changing.trouble(one, value):
            return page(400, wrong=wrong)
        if one.is_already(value):
            return page(400, wrong=f"{name} is {one.words} already.")
        number = units.amount(value, one.unit) if one.vartype in ("integer", "real") else None
        shown["risk"] = changing.risk(one, number, now.ram)
        if one.number is not None and number is not None and now.ram is not None:
            shown["worst"] = worst_case(
                {**reading.numbers(everything), name: number},
                number if name == "max_connections" else busy.peak_connections or 0,
            )
            shown["ram"] = now.ram
    elif not one.altered and not one.pending and not one.override:
        return page(
            400, wrong=f"ALTER SYSTEM has set nothing for {name}: it comes from {one.where or 'its default'}."
        )
    now_written = reading.written(name)
    shown["waits"] = now_written if now_written and not one.is_already(now_written) else ""
    shown["looking"] = True
    if step == "look":
        return page(seen=one.words, written=now_written)
    seen, written = request.POST.get("seen", ""), request.POST.get("written", "")
    if request.POST.get("typed", "").strip() != name:
        return page(400, seen=seen, written=written, wrong=f"Type {name} to confirm.")
    try:
        effect = changing.change(
            one,
            value=None if resets else value,
            seen=seen,
            written=written,
            reload=bool(request.POST.get("reload")),
        )
    except changing.SettingError as error:
        by_now = reading.parameters([name])[name]
        shown["one"] = by_now
        return page(409, seen=by_now.words, written=reading.written(name), wrong=str(error))
    SAY.get(effect.state, messages.info)(request, effect.sentence)
    return HttpResponseRedirect(f"{reverse('admin:database_tuning')}#{name}")


@require_POST
@database_page("Reload")
def database_reload(request: HttpRequest) -> HttpResponse:
    """pg_reload_conf(): what stands in the files holds, as far as it needs no restart."""
    try:
        changing.reload()
    except changing.SettingError as error:
        messages.error(request, str(error))
    else:
        messages.success(request, "PostgreSQL has read its configuration files again.")
    return HttpResponseRedirect(reverse("admin:database_tuning"))


@require_http_methods(["GET", "HEAD", "POST"])
@database_page("Restart PostgreSQL")
def database_restart(request: HttpRequest) -> HttpResponse:
    """Have `make run` restart the embedded PostgreSQL, after a word was typed."""
    if not settings.ARC_EMBEDDED:
        raise Http404("This PostgreSQL is not the embedded one: it is restarted where it was started.")
    why_not = restart.why_not(settings.ARC_LAYOUT)
    pending = part(reading.pending, what="What waits for a restart").value or {}
    wrong = ""
    if request.method == "POST" and not why_not:
        if request.POST.get("typed", "").strip() == "restart":
            record("postgres.restart_asked", object_type="postgres.server", data={"pending": list(pending)})
            restart.ask(settings.ARC_LAYOUT, request.user.get_username())
            return HttpResponseRedirect(reverse("admin:database_tuning"))
        wrong = "Type restart to confirm."
    return render(
        request,
        "admin/database/tuning/restart.html",
        context(
            request,
            "Restart PostgreSQL",
            why_not=why_not,
            wrong=wrong,
            pending=pending,
            sessions=part(load.sessions, what="The sessions").value,
        ),
        status=400 if wrong else 409 if why_not and request.method == "POST" else 200,
    )


def _files() -> tuple[str, list[reading.FileError]]:
    why_not = reading.why_no_files()
    return why_not, [] if why_not else reading.file_errors()


def _free(line: reading.Line) -> bool:
    """Whether nothing is recommended on purpose, rather than for want of evidence."""
    return "not known" not in line.advice.why and "No samples" not in line.advice.why


def _outcome() -> dict[str, Any] | None:
    """How the last restart went, while that is news."""
    if not settings.ARC_EMBEDDED:
        return None
    if restart.under_way(settings.ARC_LAYOUT):
        return {"asked": True}
    found = restart.outcome(settings.ARC_LAYOUT)
    if found is None:
        return None
    ended = datetime.fromtimestamp(found.ended, UTC)
    if (datetime.now(UTC) - ended).total_seconds() > TOLD_FOR:
        return None
    return {"well": found.well, "sentence": found.sentence, "ended": ended, "took": found.took}
