"""What the live database knows better than an older copy, carried into the new one before it is live.

Accounts and revocations, audit events, the catalogue of copies, alerts. Everything runs in one transaction
of the new database, may run twice, and reads the live one only.
"""

from __future__ import annotations

from typing import Any

import psycopg

from arcweb.backups.restore.carry import accounts, catalogue, events, grants, standing
from arcweb.backups.restore.carry.copying import Both

__all__ = ["carry_over"]


def carry_over(live: psycopg.Connection[Any], new: psycopg.Connection[Any], taken_at: str) -> list[str]:
    """Carry everything over; what was, in sentences. taken_at: the moment that the copy holds, ISO.

    The caller commits `new`. Raises psycopg.Error.
    """
    both = Both(live, new)
    said: list[str] = []
    for part in (accounts.carry, events.carry, catalogue.carry, standing.carry, grants.carry):
        said += part(both, taken_at)
    return said
