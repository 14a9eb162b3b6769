"""Putting a copy of Redis back: asked for here, done by a job; for servers of others, the steps by hand."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods

from arcweb.backups.exceptions import CorruptCopy
from arcweb.backups.job_handlers.redis import KIND
from arcweb.backups.manifest import Manifest
from arcweb.backups.models import Backup
from arcweb.backups.pages import requests
from arcweb.backups.redis_rdb import restoring
from arcweb.backups.redis_rdb.live import role_of
from arcweb.database.rooms import context
from arcweb.events import current_actor, record
from arcweb.events.sentences import describe
from arcweb.jobs import ledger
from arcweb.jobs.models import Job
from cache_admin.connections import ROLES, Role, address

describe("redis.restore_asked", "asked for {object} to be put back as the {role} role of Redis")
MAY_BE_RESTORED = ("written", "hashed", "verified")


@require_http_methods(["GET", "HEAD", "POST"])
def restore(request: HttpRequest, backup: UUID) -> HttpResponse:
    """What is replaced and by what, the typed confirmation, and the job; or the steps by hand."""
    one = get_object_or_404(Backup, pk=backup, format="rdb")
    if one.state not in MAY_BE_RESTORED:
        raise Http404("This copy cannot be restored.")
    given = request.POST if request.method == "POST" else request.GET
    role: Role = next((known for known in ROLES if known == given.get("role")), role_of(one.source))
    wrong, steps = "", {}
    why_not = restoring.why_not(role)
    busy = Job.objects.active().filter(kind=KIND).first()
    try:
        manifest = Manifest.from_json(one.manifest)
        steps = restoring.steps(manifest, role) if why_not else {}
    except CorruptCopy as error:
        why_not = str(error)
    status = 200
    if request.method == "POST":
        if request.POST.get("typed", "").strip() == role and not why_not:
            return requests.follow(request, _asked(one, role))
        status = 409 if why_not else 400
        wrong = why_not or f"The word typed was not {role}, so that nothing was done."
    return render(
        request,
        "admin/backups/redis/restore.html",
        context(
            request,
            f"Put {one.get_source_display()} back",
            backup=one,
            manifest=one.manifest or {},
            role=role,
            roles=ROLES,
            address=address(role),
            why_not=why_not,
            wrong=wrong,
            steps=steps,
            busy=busy,
        ),
        status=status,
    )


def _asked(one: Backup, role: Role) -> Job:
    """The job; the one under way, when there is one."""
    facts: dict[str, Any] = {"role": role, "backup": str(one.pk)}
    with transaction.atomic():
        record("redis.restore_asked", obj=one, data=facts)
        return ledger.enqueue(
            KIND,
            target=str(one),
            target_url=reverse("admin:backups_backup", args=[one.pk]),
            params={**facts, "by": current_actor().name},
            title=f"Put {one} back as the {role} role of Redis",
            unique_key=KIND,
        )
