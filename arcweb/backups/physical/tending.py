"""What time brings: log that nobody needs goes, so do replaced clusters; killed work is settled."""

from __future__ import annotations

import logging

from django.conf import settings

from arcweb.backups.exceptions import BackupError, LockedOut
from arcweb.backups.physical import archive, chain, copies, doing

logger = logging.getLogger(__name__)


def tend() -> list[str]:
    """Once an hour; what was done, in sentences, which are logged. Nothing is done during a restore."""
    said: list[str] = []
    try:
        if settings.ARC_EMBEDDED and copies.folder().is_dir():
            said += doing.tidy()
        pruned = archive.prune()
        if pruned.files:
            said.append(f"{pruned.files} files of the log were removed: no kept base backup needs them.")
        if pruned.trouble:
            said.append(pruned.trouble)
        chain.forget_unneeded(copies.folder())
    except LockedOut:
        return said
    except BackupError as error:
        said.append(str(error))
    for sentence in said:
        logger.info("%s", sentence)
    return said
