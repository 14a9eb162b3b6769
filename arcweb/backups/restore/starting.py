"""What every start looks for: a restore whose process was killed, and a dump that one left unpacked."""

from __future__ import annotations

import logging

from arcweb.backups.restore import launching, recovery

logger = logging.getLogger(__name__)


def settle() -> None:
    """Have it finished or undone by a process of its own; never keeps the start waiting, never raises."""
    try:
        recovery.sweep()
        if recovery.needed():
            logger.warning("A restore was left half done; manage.py backup recover settles it.")
            launching.spawn("recover")
    except Exception:
        logger.exception("What a restore left could not be looked at; run manage.py backup recover.")
