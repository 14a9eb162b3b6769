"""A folder of copies of the test's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def folder(settings: Any, tmp_path: Path) -> Path:
    """ARC_BACKUP_DIR, empty; no store."""
    settings.ARC_BACKUP_DIR = tmp_path / "backups"
    settings.ARC_BACKUP_DIR.mkdir()
    settings.ARC_BACKUP_S3_BUCKET = ""
    return Path(settings.ARC_BACKUP_DIR)
