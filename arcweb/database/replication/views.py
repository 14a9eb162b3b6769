"""The page Replication."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.db import OperationalError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from arcweb.charts import size
from arcweb.database.activity.words import lasting
from arcweb.database.findings import worst_first
from arcweb.database.parts import Part, part
from arcweb.database.replication import looks, standbys
from arcweb.database.replication.standbys import Receiver
from arcweb.database.rooms import context, database_page
from arcweb.database.standing import standing
from arcweb.postgres import replica as reading

TITLE = "Replication"


@require_safe
@database_page(TITLE)
def replication(request: HttpRequest) -> HttpResponse:
    """Replicas, slots, the replica that lists are read from, and this server's own receiver if it is one."""
    replicas = part(standbys.replicas, what="The replicas")
    slots = part(standbys.slots, what="The replication slots")
    found = part(standbys.settings, what="The settings of replication")
    here = part(standbys.receiver, what="The receiver") if standing().replica else None
    findings = looks.reads_findings()
    if replicas.value is not None and found.value is not None:
        findings += looks.of_replicas(replicas.value, found.value["synchronous_standby_names"])
    findings += looks.of_slots(slots.value or [])
    findings = worst_first(findings)
    troubles = [one.trouble for one in (replicas, slots, found) if one.trouble]
    copies = [one for one in replicas.value or [] if one.copies]
    shown: dict[str, Any] = {
        "replicas": replicas,
        "slots": slots,
        "settings": found,
        "receiver": here,
        "findings": findings,
        "worst": findings[0] if findings else None,
        "troubles": troubles,
        "copies": copies,
        "this_is_a_replica": standing().replica,
        "reads": _reads(),
        "lag_seconds": standbys.LAG_SECONDS,
        "lag_bytes": size(standbys.LAG_BYTES),
    }
    return render(
        request, "admin/database/replication/replication.html", {**context(request, TITLE), **shown}
    )


def _reads() -> dict[str, Any] | None:
    """The replica that lists and search are read from; None without POSTGRES_REPLICA_HOST."""
    if not reading.configured():
        return None
    now = reading.state()
    return {
        "state": now,
        "shape": "good" if now.fresh else "unknown" if now.checked_at is None else "warn",
        "behind": "unknown" if now.behind is None else size(now.behind),
        "seconds": "unknown" if now.seconds is None else lasting(now.seconds) if now.seconds else "none",
        "most": settings.ARC_REPLICA_MAX_LAG_SECONDS,
        "host": settings.POSTGRES_REPLICA_HOST,
        "served": reading.served(),
        "receiver": _its_receiver() if now.answers else None,
    }


def _its_receiver() -> Part[Receiver]:
    what = "What the replica says of itself"
    try:
        return part(lambda: standbys.receiver(reading.REPLICA), what=what, using=reading.REPLICA)
    except OperationalError:
        reading.suspect()
        return Part(None, f"{what} is unknown: it did not answer.")
