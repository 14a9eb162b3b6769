"""The page Slow commands."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.core.exceptions import BadRequest
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_safe

from arcweb.events import record
from arcweb.panels import Row
from cache_admin import connections
from cache_admin.asking import Question, confirmed
from cache_admin.connections import Role
from cache_admin.rooms import context, link, redis_page
from cache_admin.server.capabilities import Capabilities, capabilities
from cache_admin.traffic import slow

TITLE = "Slow commands"


@require_safe
@redis_page(TITLE)
def slow_commands(request: HttpRequest, role: Role) -> HttpResponse:
    """The log named by `log` by shape of command, statistics by command, and latency."""
    may = capabilities(role)
    log = _log(request.GET.get("log", slow.SLOW.name), may)
    commandlog = _commandlog(may)
    shown: dict[str, Any] = {
        **context(request, role, TITLE),
        "log": log,
        "logs": list(slow.LOGS.values()) if commandlog else [slow.SLOW],
        "why_no_log": may.why_not("COMMANDLOG" if commandlog else "SLOWLOG"),
        "why_no_reset": may.why_not("COMMANDLOG RESET" if commandlog else "SLOWLOG RESET"),
        "why_no_commandlog": may.why_not("COMMANDLOG"),
        "why_no_settings": may.why_not("CONFIG GET"),
        "why_no_change": may.why_not("CONFIG SET"),
        "why_no_statistics": may.why_not("INFO"),
        "why_no_latency": may.why_not("LATENCY"),
    }
    with connections.client(role) as server:
        if not shown["why_no_log"]:
            entries = slow.entries(server, log, commandlog=commandlog)
            shown["groups"] = slow.grouped(entries, log.unit)
            forbidden = may.why_not("COMMANDLOG LEN" if commandlog else "SLOWLOG LEN")
            shown["length"] = len(entries) if forbidden else slow.length(server, log, commandlog=commandlog)
        if not shown["why_no_settings"]:
            thresholds = slow.thresholds(server)
            shown["threshold"] = thresholds.get(log.setting)
            shown["most"] = thresholds.get(log.most_setting)
            shown["settings"] = [
                {"name": name, "value": thresholds[name], "meaning": meaning, "advised": advised}
                for name, (meaning, advised) in slow.SETTINGS.items()
                if name in thresholds
            ]
            shown["latency_is_off"] = thresholds.get("latency-monitor-threshold") == 0
        if not shown["why_no_statistics"]:
            shown["statistics"] = slow.statistics(server.info("commandstats"))
        if not shown["why_no_latency"]:
            shown["delays"] = slow.delays(server)
            shown["advice"] = slow.doctor(server)
    return render(request, "admin/cache_admin/traffic/slow.html", shown)


@require_http_methods(["GET", "HEAD", "POST"])
@redis_page("Empty the log")
def slow_reset(request: HttpRequest, role: Role) -> HttpResponse:
    """Empty the log named by `log`: GET asks, POST wants its name typed."""
    may = capabilities(role)
    log, commandlog = _log(request.GET.get("log", slow.SLOW.name), may), _commandlog(may)
    if why_not := may.why_not("COMMANDLOG RESET" if commandlog else "SLOWLOG RESET"):
        raise BadRequest(why_not)
    back = link("redis_slow", role, f"log={log.name}")
    with connections.client(role) as server:
        entries = slow.length(server, log, commandlog=commandlog)
        question = Question(
            title=f"Empty the log of {log.title}",
            sentence=f"{entries} entries are forgotten for good. Statistics by command stay.",
            facts=(Row("Entries", str(entries)), Row("Server", connections.address(role), mono=True)),
            wanted=log.name,
            button="Empty this log",
            back=back,
        )
        if asks := confirmed(request, role, question):
            return asks
        data = {"role": role, "log": log.title, "entries": entries}
        record("redis.slow_log_emptied", label=log.title, data=data)
        slow.empty(server, log, commandlog=commandlog)
    messages.success(request, f"The log of {log.title} is empty; it fills anew from now on.")
    return redirect(back)


@require_http_methods(["GET", "HEAD", "POST"])
@redis_page("Change a threshold")
def slow_threshold(request: HttpRequest, role: Role) -> HttpResponse:
    """Set the setting `name` to `to`: GET shows the difference, POST wants the new value typed."""
    if why_not := capabilities(role).why_not("CONFIG SET"):
        raise BadRequest(why_not)
    name, value = request.GET.get("name", ""), _number(request.GET.get("to", ""))
    if name not in slow.SETTINGS:
        raise BadRequest("Only the thresholds of the page Slow commands can be set here.")
    least = slow.LEAST.get(name, -1)
    if value is None or not least <= value <= slow.LARGEST:
        messages.error(request, f"{name} must be a whole number from {least} to {slow.LARGEST:,}.")
        return redirect(link("redis_slow", role))
    back = link("redis_slow", role)
    with connections.client(role) as server:
        before = slow.thresholds(server).get(name)
        if before is None:
            raise BadRequest(f"This server has no setting {name}.")
        meaning, advised = slow.SETTINGS[name]
        question = Question(
            title=f"Set {name}",
            sentence=f"{meaning} It holds from now until the server's next start.",
            facts=(
                Row("Now", str(before), mono=True),
                Row("Then", str(value), mono=True),
                Row("Advised", str(advised), mono=True),
            ),
            wanted=str(value),
            button=f"Set it to {value}",
            back=back,
            fields={"from": before},
        )
        if request.method == "POST" and request.POST.get("from") != str(before):
            messages.error(
                request, f"Nothing was changed: {name} is {before} by now. Look at the difference again."
            )
            return redirect(f"{reverse('admin:redis_slow_threshold')}?role={role}&name={name}&to={value}")
        if asks := confirmed(request, role, question):
            return asks
        # As the page Configuration tells of a change.
        data = {"setting": name, "role": role, "old": str(before), "new": str(value)}
        record("redis.configured", object_type="redis.server", object_id=role, data=data)
        slow.set_threshold(server, name, value)
    messages.success(
        request,
        f"{name} is {value} now, until the server's next start. The page Configuration can have it kept.",
    )
    return redirect(back)


def _log(name: str, may: Capabilities) -> slow.Log:
    log = slow.LOGS.get(name)
    if log is None:
        raise BadRequest(f"There is no such log; there are {', '.join(slow.LOGS)}.")
    if log is not slow.SLOW and not _commandlog(may):
        raise BadRequest(may.why_not("COMMANDLOG"))
    return log


def _commandlog(may: Capabilities) -> bool:
    return not may.why_not("COMMANDLOG")


def _number(text: str) -> int | None:
    try:
        return int(text) if len(text) <= 20 else None
    except ValueError:
        return None
