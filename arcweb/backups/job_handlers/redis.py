"""The job that puts a copy of Redis back on the embedded stack."""

from __future__ import annotations

from typing import Any

from arcweb.backups.exceptions import BackupError, LockedOut
from arcweb.backups.models import Backup
from arcweb.jobs.context import JobContext
from arcweb.jobs.exceptions import JobFailed, RetryLater
from arcweb.jobs.registry import handler

KIND = "backup-restore-redis"


@handler(KIND, label="Put Redis back", max_attempts=5, permission="backups.restore_backup")
def run_restore(context: JobContext) -> dict[str, Any]:
    """params: {"backup", "role", "by"}. Twice: what was exchanged is not exchanged again."""
    from arcweb.backups.redis_rdb import restoring  # heavy: compression and its like

    backup = Backup.objects.present().filter(pk=context.params["backup"]).first()
    if backup is None:
        raise JobFailed("The copy is no longer in the catalogue.")

    def tell(words: str) -> None:
        context.progress(0, message=words)

    try:
        done = restoring.restore(
            backup, context.params["role"], id_=context.id, by=context.params.get("by", ""), tell=tell
        )
    except LockedOut as error:
        raise RetryLater(30, str(error)) from error
    except BackupError as error:
        raise JobFailed(str(error)) from error
    return {"restored": done.sentence, "safety": str(done.safety.pk) if done.safety else ""}
