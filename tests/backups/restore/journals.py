"""Journals of restores for tests of their pages; no process stands behind them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import connection
from django.urls import reverse

from arcweb.backups.restore.journal import Folder, Journal

WHO = {"kind": "user", "id": "1", "name": "anna"}


def written(journals: Folder, state: str, **values: Any) -> Journal:
    """A restore into the place of live, in that state; what it keeps is kept for an hour."""
    one = Journal.begin(
        "restore",
        live=str(connection.settings_dict["NAME"]),
        actor=WHO,
        file="postgres-20260101T000000Z-01234567.dump.zst",
        taken_at="2026-01-01T00:00:00+00:00",
    )
    one.state, one.keep_until = state, (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    for name, value in values.items():
        setattr(one, name, value)
    journals.write(one)
    return one


def page(journal: Journal, name: str = "page") -> str:
    """Its address; name: of what is done there, such as "confirm"."""
    return reverse(f"admin:backups_restore_{name}", args=[journal.id])
