"""The session of the replication role, which holds a slot while a base backup is taken."""

from __future__ import annotations

from pathlib import Path

import pytest

from arcweb.backups import server
from arcweb.backups.physical import replication
from arcweb.embedded.stack import Stack
from tests.backups.physical.conftest import point_to


def test_no_time_limit_for_idle_sessions_ends_it(
    archiving: Stack, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    point_to(archiving, monkeypatch, tmp_path)
    known = server.database()
    limited = known["OPTIONS"] | {"options": "-c idle_session_timeout=7s -c work_mem=5MB"}
    for options in (known["OPTIONS"], limited):
        monkeypatch.setattr(server, "database", lambda options=options: known | {"OPTIONS": options})
        with replication.connected() as line:
            assert line.ask("SHOW idle_session_timeout") == ["0"]
    with replication.connected() as line:
        assert line.ask("SHOW work_mem") == ["5MB"], "what else is set stays"
