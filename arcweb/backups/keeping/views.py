"""The page of retention, and what is done with one copy: deleting, pinning."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.utils.http import urlencode
from django.views.decorators.http import require_http_methods, require_POST

from arcweb.backups import pruning
from arcweb.backups.exceptions import BackupError
from arcweb.backups.keeping import deletion, pins
from arcweb.backups.keeping.changing import in_words, set_policy
from arcweb.backups.keeping.forms import PinForm, RetentionForm
from arcweb.backups.models import Backup, Retention
from arcweb.backups.pages.requests import follow
from arcweb.backups.pages.words import Line
from arcweb.backups.retention import Policy
from arcweb.charts import size
from arcweb.database.rooms import context
from arcweb.events import record
from arcweb.events.sentences import describe
from arcweb.jobs.models import Job
from arcweb.seen import ChangedMeanwhile

SEE, CHANGE = "backups.view_backup", "backups.change_retention"
DELETE, PIN = "backups.delete_backup", "backups.pin_backup"
#: Copies of each kind that the page lists; the numbers are of all.
MOST = 200

describe("retention.run_asked", "asked for retention to run: {copies} copies, {bytes} bytes")


@dataclass(frozen=True)
class Shown:
    """A copy of the preview."""

    line: Line
    reasons: tuple[str, ...]


@require_http_methods(["GET", "HEAD", "POST"])
def retention(request: HttpRequest) -> HttpResponse:
    """How many are kept, and what would go now. ?last=&daily=… previews another policy; POST sets one."""
    row = Retention.objects.first() or Retention(pk=1)
    row._state.adding = False  # the form carries what was shown, also of the defaults
    now = Policy(row.last, row.daily, row.weekly, row.monthly, row.yearly)
    may_change = request.user.has_perm(CHANGE)
    asked = request.GET if "last" in request.GET else None
    form = RetentionForm(request.POST if request.method == "POST" else asked, instance=row)
    if request.method == "POST":
        if not may_change:
            raise PermissionDenied
        if "preview" in request.POST:  # by way of an address, which must not hold the form's token
            shown = {name: request.POST.get(name, "") for name in form.fields}
            return HttpResponseRedirect(f"{reverse('admin:backups_retention')}?{urlencode(shown)}")
        if form.is_valid():
            try:
                set_policy(form.policy(), seen=now)
            except ChangedMeanwhile:
                messages.error(request, "Somebody changed the policy in this moment: look at it again.")
            else:
                messages.success(request, f"Kept from now on: {in_words(form.policy())}.")
            return HttpResponseRedirect(reverse("admin:backups_retention"))
        messages.error(request, "Nothing was changed: see below.")
    previewed = asked is not None and form.is_valid()
    chosen = form.policy() if previewed else now
    try:
        found, trouble = pruning.preview(chosen), ""
    except BackupError as error:
        found, trouble = None, str(error)
    return render(
        request,
        "admin/backups/retention.html",
        context(
            request,
            "Retention of backups",
            form=form,
            words=in_words(chosen),
            trouble=trouble,
            previewed=previewed and chosen != now,
            going=[Shown(Line(one.backup), one.reasons) for one in found.going[:MOST]] if found else [],
            staying=[Shown(Line(one.backup), one.reasons) for one in found.staying[:MOST]] if found else [],
            unfinished=[Line(one) for one in found.unfinished[:MOST]] if found else [],
            counts=_counts(found) if found else {},
            more={name: max(0, count - MOST) for name, count in _counts(found).items()} if found else {},
            freed=size(found.bytes) if found else "",
            typed=_typed(found) if found else "",
            may_change=may_change,
            may_run=request.user.has_perm(DELETE),
            active=Job.objects.active().filter(kind=pruning.KIND).first(),
        ),
        status=400 if request.method == "POST" else 200,
    )


@require_POST
def run(request: HttpRequest) -> HttpResponse:
    """Runs retention now, when what was typed is what would go now."""
    here = HttpResponseRedirect(reverse("admin:backups_retention"))
    try:
        found = pruning.preview()
    except BackupError as error:
        messages.error(request, f"Nothing was deleted: {error}")
        return here
    if found.going and request.POST.get("typed", "").strip() != _typed(found):
        messages.error(
            request,
            f"Nothing was deleted: to confirm, type {_typed(found)}. The page shows what would go by now.",
        )
        return here
    with transaction.atomic():
        record(
            "retention.run_asked",
            object_type="backups.retention",
            object_id="1",
            data={"copies": len(found.going), "bytes": found.bytes},
        )
        job = pruning.enqueue()
    return follow(request, job)


@require_http_methods(["GET", "HEAD", "POST"])
def delete(request: HttpRequest, backup: UUID) -> HttpResponse:
    """Deletes one copy after its name was typed; says why when it may not be."""
    one = get_object_or_404(Backup.objects.defer("manifest"), pk=backup)
    why_not, status = deletion.why_not(one), 200
    typed = one.file or str(one.pk)
    if request.method == "POST":
        status = 409
        if not why_not and request.POST.get("typed", "").strip() == typed:
            try:
                return follow(request, deletion.delete(one.pk, reason="by hand"))
            except deletion.Refused as error:
                why_not = str(error)
        elif not why_not:
            messages.error(request, f"Nothing was deleted: type {typed} to confirm.")
    return render(
        request,
        "admin/backups/retention_delete.html",
        context(request, "Delete a backup", backup=one, line=Line(one), why_not=why_not, typed=typed),
        status=status,
    )


@require_http_methods(["GET", "HEAD", "POST"])
def pin(request: HttpRequest, backup: UUID) -> HttpResponse:
    """Pins the copy with a reason, or takes the pin out."""
    one = get_object_or_404(Backup.objects.defer("manifest"), pk=backup)
    form = PinForm(request.POST if "reason" in request.POST else None)
    if request.method == "POST":
        done: bool | None = None
        if "unpin" in request.POST:
            done = pins.unpin(one.pk)
        elif form.is_valid():
            done = pins.pin(one.pk, form.cleaned_data["reason"])
        if done:
            pinned = (
                "It is pinned: it stays." if form.is_bound else "The pin is out: retention decides again."
            )
            messages.success(request, pinned)
        elif done is False:
            messages.error(request, "Nothing was changed: somebody was quicker, or its files are gone.")
        if done is not None:
            return HttpResponseRedirect(reverse("admin:backups_backup", args=[one.pk]))
    return render(
        request,
        "admin/backups/retention_pin.html",
        context(request, "Pin a backup", backup=one, line=Line(one), form=form),
        status=400 if request.method == "POST" else 200,
    )


def _counts(found: pruning.Preview) -> dict[str, int]:
    return {
        "going": len(found.going),
        "staying": len(found.staying),
        "unfinished": len(found.unfinished),
    }


def _typed(found: pruning.Preview) -> str:
    count = len(found.going)
    return f"delete {count} cop{'y' if count == 1 else 'ies'}"
