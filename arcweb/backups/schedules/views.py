"""The schedules, their next runs, and changing them."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from django.conf import settings
from django.contrib import messages
from django.db import IntegrityError
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from arcweb.backups.models import Schedule, Source
from arcweb.backups.schedules import keeping, slots
from arcweb.backups.schedules.forms import CHOICES, DRILL, ScheduleForm, what_of
from arcweb.database.rooms import context
from arcweb.jobs.progress import duration


@require_safe
def schedules(request: HttpRequest) -> HttpResponse:
    rows = [_row(one) for one in Schedule.objects.order_by("source", "name")]
    covered = {
        row["schedule"].source
        for row in rows
        if row["schedule"].enabled and not row["schedule"].drill and row["next"]
    }
    return render(
        request,
        "admin/backups/schedules/schedules.html",
        context(
            request,
            "Schedules",
            rows=rows,
            uncovered=[
                Source(source).label for source in (Source.POSTGRES, Source.STATE) if source not in covered
            ],
            zone=settings.ARC_LOCAL_ZONE,
            following=min((row["next"][0]["utc"] for row in rows if row["next"]), default=None),
        ),
    )


@require_http_methods(["GET", "HEAD", "POST"])
def change(request: HttpRequest, schedule: int | None = None) -> HttpResponse:
    """A new schedule, or a known one. What is seen before saving: the next three runs."""
    known = get_object_or_404(Schedule, pk=schedule) if schedule else None
    form = ScheduleForm(request.POST or None, schedule=known)
    preview = None
    if request.method == "POST" and form.is_valid():
        chosen = form.chosen()
        if "preview" in request.POST:
            preview = _times(chosen.cron)
        else:
            try:
                keeping.save(chosen)
            except Schedule.DoesNotExist:
                messages.error(request, f"{chosen.name} was not saved: somebody deleted it meanwhile.")
                return HttpResponseRedirect(reverse("admin:backups_schedules"))
            except IntegrityError:
                form.add_error("name", "Another schedule has this name.")
            else:
                messages.success(
                    request,
                    f"{chosen.name} runs next {_first(chosen)}."
                    if chosen.enabled
                    else f"{chosen.name} is off.",
                )
                return HttpResponseRedirect(reverse("admin:backups_schedules"))
    return render(
        request,
        "admin/backups/schedules/schedule.html",
        context(
            request,
            known.name if known else "New schedule",
            form=form,
            schedule=known,
            preview=preview or (_times(known.cron) if known and not form.is_bound else None),
            zone=settings.ARC_LOCAL_ZONE,
        ),
    )


@require_POST
def delete(request: HttpRequest, schedule: int) -> HttpResponse:
    """Its name is typed; its copies stay."""
    known = get_object_or_404(Schedule, pk=schedule)
    if request.POST.get("typed", "").strip() != known.name:
        messages.error(request, f"Nothing was deleted: type {known.name} to confirm.")
        return HttpResponseRedirect(reverse("admin:backups_schedule", args=[known.pk]))
    keeping.delete(known)
    messages.success(request, f"{known.name} is gone; its copies stay.")
    return HttpResponseRedirect(reverse("admin:backups_schedules"))


def _row(schedule: Schedule) -> dict[str, Any]:
    what = what_of(schedule)
    return {
        "schedule": schedule,
        "what": "Drill: the oldest copy of each source, proven again" if what == DRILL else CHOICES[what][0],
        "next": _times(schedule.cron) if schedule.enabled else [],
    }


def _times(cron: str) -> list[dict[str, Any]]:
    """The next three runs: in UTC, in the local zone, and in how long."""
    now = timezone.now()
    try:
        found = slots.upcoming(slots.parse(cron), now)
    except slots.BadCron:
        return []
    return [
        {"utc": one, "local": local(one), "until": duration((one - now).total_seconds())} for one in found
    ]


def local(moment: datetime, zone: str | None = None) -> str:
    """ "2026-11-24 03:15 CET" in ARC_LOCAL_ZONE (or `zone`); "" where that is not set."""
    name = settings.ARC_LOCAL_ZONE if zone is None else zone
    return f"{moment.astimezone(ZoneInfo(name)):%Y-%m-%d %H:%M %Z}" if name else ""


def _first(schedule: Schedule) -> str:
    times = _times(schedule.cron)
    return f"{times[0]['utc']:%Y-%m-%d %H:%M} UTC" if times else "never"
