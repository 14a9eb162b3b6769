"""Rows of the catalogue for tests of what is said about them; no file stands behind them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.utils import timezone

from arcweb.backups.models import Backup


def copy(state: str = "verified", age: timedelta = timedelta(hours=3), **more: Any) -> Backup:
    """A copy of PostgreSQL of that state, which holds the moment `age` ago."""
    now = timezone.now()
    whole = state not in ("failed", "running")
    number = Backup.objects.count()
    values: dict[str, Any] = {
        "source": "postgres",
        "format": "custom",
        "state": state,
        "taken_at": now - age if whole else None,
        "created_at": now - age,
        "finished_at": now - age + timedelta(seconds=4) if state != "running" else None,
        "hashed_at": now - age if state in ("hashed", "verified") else None,
        "verified_at": now - age if state == "verified" else None,
        "file": f"postgres-20261123T070005Z-{number:08x}.dump.zst" if whole else "",
        "bytes": 5_000_000 if whole else None,
        "raw_bytes": 20_000_000 if whole else None,
        "manifest": {"tables": [{"schema": "agents", "name": "agents", "rows": 12, "sha256": "a" * 64}]}
        if whole
        else None,
    }
    return Backup.objects.create(**(values | more))
