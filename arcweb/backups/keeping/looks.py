"""The catalogue as retention sees it: which copies there are, what stands in for what, what is there."""

from __future__ import annotations

import logging
from uuid import UUID

from django.db.models import Q
from django.utils import timezone

from arcweb.backups import manifest as manifests
from arcweb.backups import places, retention
from arcweb.backups.models import Backup
from arcweb.backups.places.base import PlaceError
from arcweb.backups.retention import Copy, Decision, Policy

logger = logging.getLogger(__name__)
#: Formats that stand in for each other.
KINDS = {"custom": "dump", "plain": "dump", "base": "server", "incremental": "server", "rdb": "rdb"}


def rows() -> list[Backup]:
    """Everything that retention decides about."""
    files = Q(local=True) | Q(remote=True)
    return list(
        Backup.objects.filter(
            Q(state__in=["running", "written", "hashed", "verified", "bad"]) | (Q(state="failed") & files)
        )
        .marked()
        .defer("manifest", "check_result")
        .order_by("-created_at", "-id")
    )


def copy_of(row: Backup, standing: set[UUID] | None) -> Copy:
    """standing: the copies whose files were seen; None: nobody looked."""
    whole = row.state in ("written", "hashed", "verified", "bad")
    scope = row.scope.get("agent") or row.scope.get("schema") or ""
    return Copy(
        str(row.pk),
        f"{row.source}:{KINDS.get(row.format, row.format)}:{scope}",
        "away" if whole and standing is not None and row.pk not in standing else row.state,  # type: ignore[arg-type]
        row.taken_at or row.created_at,
        (row.checked_at if row.state == "bad" else None) or row.created_at,
        pinned=row.pinned_at is not None,
        parent=str(row.parent_id) if row.parent_id else None,
        found=row.trigger == Backup.Trigger.FOUND,
        elsewhere=row.elsewhere,
    )


def decide(several: list[Backup], chosen: Policy, *, seen: set[UUID]) -> Decision:
    """What that policy says of these copies; seen: those of them whose files stand somewhere."""
    return retention.choose([copy_of(row, seen) for row in several], chosen, timezone.now())


def standing(several: list[Backup], *, ask_store: bool) -> set[UUID]:
    """The copies that are whole in some place: a row that says so is not enough to delete others for.

    Raises PlaceError when the folder cannot be listed. A store that does not answer has nothing to show.
    """
    here = dict(places.folder().names())
    found = {
        row.pk
        for row in several
        if row.file and here.get(row.file) == row.bytes and manifests.manifest_name(row.file) in here
    }
    away = [row for row in several if row.pk not in found and row.remote]
    if not ask_store:
        return found | {row.pk for row in away}
    if away:
        try:
            there = dict(places.store().names())
        except PlaceError as error:
            logger.warning("Copies that are only in the store count for nothing in this run: %s", error)
            there = {}
        found |= {row.pk for row in away if there.get(row.file) == row.bytes}
    return found
