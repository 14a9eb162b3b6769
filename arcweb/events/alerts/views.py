"""The pages of alerts: all rules, and one of them."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from django.conf import settings
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from arcweb.alarms import Alarm, find_alarm
from arcweb.events import current_actor, record
from arcweb.events.alerts import changes, deliveries, history, outlook, post, sending
from arcweb.events.alerts.board import Line, firing_first, lines, rooms
from arcweb.events.alerts.channels import find_channel
from arcweb.events.alerts.forms import SPAN_WORDS, RuleForm, SilenceForm
from arcweb.limited import limited
from arcweb.seen import ChangedMeanwhile

CHANGE = "events.change_alert"
#: Times that a form is looked at again because its rule changed in the same moment.
MOST_TRIES = 10


def may_see(request: HttpRequest, alarm: Alarm) -> bool:
    return not alarm.permission or request.user.has_perm(alarm.permission)


@never_cache
@require_safe
def alerts(request: HttpRequest) -> HttpResponse:
    """What fires, every rule by room, to whom alerts are sent, and what has ended."""
    shown = [line for line in lines() if may_see(request, line.alarm)]
    firing = firing_first(shown)
    past = history.page(request.GET, [line.alarm.name for line in shown])
    return render(
        request,
        "admin/events/alerts/alerts.html",
        {
            **admin.site.each_context(request),
            "title": "Alerts",
            "verdict": outlook.verdict(shown),
            "firing": firing,
            "rooms": rooms(shown),
            "rules": len(shown),
            "history": past,
            "channels": post.lines(),
            "signed": bool(settings.ARC_ALERT_WEBHOOK_SECRET),
            "spans": SPAN_WORDS.items(),
        },
    )


@never_cache
@require_safe
def alert(request: HttpRequest, name: str) -> HttpResponse:
    """One rule: how it stands, where its threshold comes from, and the forms that change it."""
    return _page(request, _line(request, name))


@require_POST
def change_rule(request: HttpRequest, name: str) -> HttpResponse:
    for _ in range(MOST_TRIES):
        line = _line(request, name, change=True)
        alarm, data = line.alarm, request.POST.copy()
        if "default" in data:
            data["threshold"], data["lasting"] = f"{alarm.threshold:.15g}", str(alarm.lasting)
            data.pop("off", None)
        form = RuleForm(line.rule, data)
        if not form.is_valid():
            return _page(request, line, rule_form=form, status=422)
        # On ChangedMeanwhile the form sees the change, and says so.
        with suppress(ChangedMeanwhile):
            if changes.set_rule(alarm, **form.cleaned_data, seen=line.rule):
                messages.success(request, "The rule was changed. It holds from the next look on.")
            else:
                messages.info(request, "The rule is as it was.")
            return redirect("admin:events_alert_change", name)
    raise Http404("It is changed by others all the time; nothing was saved.")


@require_POST
def silence(request: HttpRequest, name: str) -> HttpResponse:
    line = _line(request, name, change=True)
    form = SilenceForm(request.POST)
    if form.is_valid():
        try:
            made = changes.silence(line.alarm, form.end(), form.cleaned_data["why"])
        except ValueError as error:
            form.add_error("until", str(error))
        else:
            messages.success(
                request, f"{line.alarm.title} is silenced until {made.until:%Y-%m-%d %H:%M} UTC."
            )
            return redirect(*_back(request, name))
    return _page(request, line, silence_form=form, status=422)


@require_POST
def unsilence(request: HttpRequest, name: str) -> HttpResponse:
    line = _line(request, name, change=True)
    if changes.lift(line.alarm):
        messages.success(request, f"{line.alarm.title} is silenced no more.")
    else:
        messages.info(request, f"{line.alarm.title} was not silenced.")
    return redirect(*_back(request, name))


@require_POST
@limited("alert_test", "test messages")
def send_test(request: HttpRequest) -> HttpResponse:
    """A message to the channel that was asked for."""
    channel = find_channel(request.POST.get("channel", ""))
    if channel is None:
        raise Http404("There is no such channel.")
    with transaction.atomic():
        deliveries.owe_test([channel], current_actor().name or "Somebody")
        record("alert.tested", label=channel.kind, data={"channels": 1, "channel": channel.kind})
        transaction.on_commit(sending.kick)
    messages.success(request, "The test message is on its way; what came of it stands below within seconds.")
    return redirect(f"{reverse('admin:alerts')}#channels")


def _line(request: HttpRequest, name: str, *, change: bool = False) -> Line:
    """404 for a rule that is none or not for this reader; 403 for one who may only look."""
    alarm = find_alarm(name)
    if alarm is None or not may_see(request, alarm):
        raise Http404(f"There is no alert rule {name!r}.")
    if change and not request.user.has_perm(CHANGE):
        raise PermissionDenied
    return lines([name])[0]


def _page(
    request: HttpRequest,
    line: Line,
    *,
    rule_form: RuleForm | None = None,
    silence_form: SilenceForm | None = None,
    status: int = 200,
) -> HttpResponse:
    context: dict[str, Any] = {
        **admin.site.each_context(request),
        "title": line.alarm.title,
        "line": line,
        "verdict": outlook.verdict_of(line),
        "rule_form": rule_form or RuleForm(line.rule),
        "silence_form": silence_form or SilenceForm(),
        "history": history.page(request.GET, [line.alarm.name]),
        "sent": post.of_alarm(line.alarm.name),
        "spans": SPAN_WORDS.items(),
    }
    return render(request, "admin/events/alerts/alert.html", context, status=status)


def _back(request: HttpRequest, name: str) -> tuple[str, ...]:
    return ("admin:alerts",) if request.POST.get("from") == "list" else ("admin:events_alert_change", name)
