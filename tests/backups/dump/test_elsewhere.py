"""Copies of an older PostgreSQL with SSL, and of one behind a pooler."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from arcweb.backups import manifest as manifests
from arcweb.backups import tools
from arcweb.backups.exceptions import BackupError, ToolError
from arcweb.backups.models import Backup
from arcweb.backups.taking import Options, take
from tests.backups.dump.conftest import BIN
from tests.database.elsewhere.conftest import debian, here, led_to, pool  # noqa: F401 - fixtures
from tests.database.elsewhere.debian import Debian


def test_an_older_server_is_backed_up_by_programs_of_its_version_alone(
    here: Debian,  # noqa: F811
    folder: Path,
    settings: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(tools, "PLACES", ())
        patched.setenv("PATH", str(BIN))
        settings.ARC_POSTGRES_TOOLS = str(BIN)
        with pytest.raises(ToolError, match=r"PostgreSQL 15\.\d+.*bin/pg_dump is of 18\.\d"):
            take(Options())
    settings.ARC_POSTGRES_TOOLS = ""
    backup = take(Options())
    manifest, _ = manifests.read(folder / manifests.manifest_name(backup.file))
    assert manifest.server["version_num"] // 10_000 == 15
    assert manifest.client["version"].startswith("15.")
    assert manifest.extensions["pg_stat_statements"]
    assert any(table.name == "django_migrations" and table.rows for table in manifest.tables)
    assert Backup.objects.filter(state="failed").count() == 1
    Backup.objects.all().delete()


def test_behind_a_pooler_the_servers_own_address_is_needed(
    debian: Debian,  # noqa: F811
    pool: int,  # noqa: F811
    folder: Path,
    settings: Any,
    django_db_blocker: Any,
) -> None:
    settings.POSTGRES_POOLER = "transaction"
    with django_db_blocker.unblock(), led_to(debian, pool):
        with pytest.raises(BackupError, match="set POSTGRES_DIRECT_HOST"):
            take(Options())
        settings.POSTGRES_DIRECT_HOST, settings.POSTGRES_DIRECT_PORT = "127.0.0.1", debian.port
        backup = take(Options(format="plain"))
        assert backup.state == "hashed"
        Backup.objects.all().delete()
