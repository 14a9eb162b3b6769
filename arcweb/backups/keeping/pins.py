"""Pinned copies stay, whatever the policy says, until somebody takes the pin out."""

from __future__ import annotations

from uuid import UUID

from django.db import transaction
from django.db.models.functions import Now

from arcweb.backups.models import Backup
from arcweb.events import current_actor, record
from arcweb.events.sentences import describe

#: Characters of a reason.
LONGEST = 300

describe("backup.pinned", "pinned the copy {object}, so that it stays")
describe("backup.unpinned", "took the pin out of the copy {object}")


def pin(backup_id: UUID | str, reason: str) -> bool:
    """Keep the copy; False when it is gone or pinned already. The reason is for people."""
    with transaction.atomic():
        pinned = (
            Backup.objects.present()
            .filter(pk=backup_id, pinned_at=None)
            .update(pinned_at=Now(), pinned_by=current_actor().name, pin_reason=reason[:LONGEST])
        )
        if pinned:
            record("backup.pinned", obj=Backup.objects.get(pk=backup_id), note=reason[:LONGEST])
    return bool(pinned)


def unpin(backup_id: UUID | str) -> bool:
    """Let the policy decide about the copy again; False when it was not pinned."""
    with transaction.atomic():
        backup = Backup.objects.filter(pk=backup_id, pinned_at__isnull=False).first()
        if backup is None or not Backup.objects.filter(pk=backup_id, pinned_at=backup.pinned_at).update(
            pinned_at=None, pinned_by="", pin_reason=""
        ):
            return False
        record("backup.unpinned", obj=backup, note=backup.pin_reason)
    return True
