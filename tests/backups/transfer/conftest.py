"""A folder of copies of the test's own, and people who may carry them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client

from arcweb.backups.processes import run
from arcweb.backups.transfer import slots
from arcweb.embedded import binaries
from tests.people import client_of, make_user


@pytest.fixture
def folder(settings: Any, tmp_path: Path) -> Path:
    """ARC_BACKUP_DIR, empty; no store, nothing encrypted."""
    settings.ARC_BACKUP_DIR = tmp_path / "backups"
    settings.ARC_BACKUP_DIR.mkdir()
    settings.ARC_BACKUP_S3_BUCKET = settings.ARC_BACKUP_IDENTITY_FILE = ""
    settings.ARC_BACKUP_RECIPIENTS = []
    return Path(settings.ARC_BACKUP_DIR)


@pytest.fixture
def ada(db: None) -> User:
    return make_user("administrator", "ada")


@pytest.fixture
def admin(ada: User) -> Client:
    return client_of(ada)


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """The folder of another machine."""
    return tmp_path / "elsewhere"


@pytest.fixture
def take_dump(tmp_path: Path) -> Callable[[str], bytes]:
    """pg_dump -Fc of one table of PostgreSQL's own, as anybody would take it."""

    def take(table: str) -> bytes:
        at = connection.settings_dict
        out = tmp_path / "taken.dump"
        run(
            [
                binaries.installed().postgres / "pg_dump",
                "-Fc",
                "-Z0",
                "--schema-only",
                "-f",
                out,
                "-t",
                table,
            ],
            {
                "PGHOST": at["HOST"],
                "PGPORT": str(at["PORT"]),
                "PGUSER": at["USER"],
                "PGPASSWORD": at["PASSWORD"],
                "PGDATABASE": at["NAME"],
            },
        )
        return out.read_bytes()

    return take


@pytest.fixture(autouse=True)
def no_slot_is_kept() -> Iterator[None]:
    """Whatever a test does, all the slots are free at its end."""
    yield
    assert slots._taken == 0
