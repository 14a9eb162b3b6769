"""Gauges of the backups for Prometheus."""

from __future__ import annotations

from collections.abc import Iterator

from django.db.models import Max
from django.utils import timezone

from arcweb.backups.models import Backup
from arcweb.backups.standing import standings
from arcweb.backups.telling import free_bytes
from arcweb.metrics import Metric, register_gauges


def backups() -> Iterator[Metric]:
    stand = standings()
    yield Metric(
        "arc_backup_proven_age_seconds",
        "Age of the newest proven restore point; missing where there is none.",
        tuple(({"source": one.source}, one.age.total_seconds()) for one in stand if one.age is not None),
    )
    yield Metric(
        "arc_backup_copies",
        "Copies that are whole, and those of them that were proven, or found bad.",
        tuple(
            ({"source": one.source, "state": state}, float(count))
            for one in stand
            for state, count in (("whole", one.copies), ("proven", one.proven), ("bad", one.bad))
        ),
    )
    yield Metric(
        "arc_backup_failures",
        "Runs that failed since the last whole copy.",
        tuple(({"source": one.source}, float(one.failures)) for one in stand),
    )
    newest = {
        row["source"]: row["newest"]
        for row in Backup.objects.proven().order_by().values("source").annotate(newest=Max("taken_at"))
    }
    rows = Backup.objects.filter(taken_at__in=newest.values(), state="verified").values_list(
        "source", "taken_at", "bytes"
    )
    yield Metric(
        "arc_backup_bytes",
        "Size of the newest proven copy.",
        tuple(
            ({"source": source}, float(bytes_ or 0))
            for source, taken, bytes_ in rows
            if newest[source] == taken
        ),
    )
    if (free := free_bytes()) is not None:
        yield Metric("arc_backup_free_bytes", "Free space where backups are written.", (({}, float(free)),))
    yield Metric("arc_backup_looked_at_seconds", "When these were read.", (({}, timezone.now().timestamp()),))


register_gauges(backups, name="backups")
