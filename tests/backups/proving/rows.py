"""Rows of copies, and what became of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from arcweb.backups.models import Backup
from arcweb.backups.proving import proof
from arcweb.events.models import Event
from tests.backups.proving import sample
from tests.backups.proving.conftest import Sample


def copy(source: Sample, folder: Path, format_: str = "custom", **fields: Any) -> Backup:
    return sample.row(sample.write(folder, source.raw(format_), source.facts, format_), **fields)


def steps(backup: Backup) -> dict[str, Any]:
    assert backup.check_result is not None
    return {step["name"]: step["ok"] for step in backup.check_result["steps"]}


def events(backup: Backup) -> list[str]:
    return list(Event.objects.filter(object_id=str(backup.pk)).values_list("kind", flat=True))


def proven(backup: Backup, **options: Any) -> proof.Outcome:
    outcome = proof.prove(backup.pk, **options)
    backup.refresh_from_db()
    return outcome
